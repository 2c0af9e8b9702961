//! Mapping frames of one channel count to another.

/// Writes frames of `from` channels as frames of `to` channels: one channel goes to all of two
/// (and to the first two of more), two mix down to one, otherwise channels keep their place and
/// missing ones are silent. Both slices are interleaved and hold the same number of frames.
pub fn map_channels(input: &[f32], from: usize, output: &mut [f32], to: usize) {
    debug_assert_eq!(input.len() / from, output.len() / to);
    let frames = input.chunks_exact(from).zip(output.chunks_exact_mut(to));
    match (from, to) {
        _ if from == to => output.copy_from_slice(input),
        (1, _) => frames.for_each(|(mono, out)| {
            out.fill(0.0);
            out.iter_mut().take(2).for_each(|sample| *sample = mono[0]);
        }),
        (2, 1) => frames.for_each(|(stereo, out)| out[0] = (stereo[0] + stereo[1]) * 0.5),
        _ => frames.for_each(|(frame, out)| {
            out.fill(0.0);
            out.iter_mut().zip(frame).for_each(|(out, sample)| *out = *sample);
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(input: &[f32], from: usize, to: usize) -> Vec<f32> {
        let mut output = vec![9.0; input.len() / from * to];
        map_channels(input, from, &mut output, to);
        output
    }

    #[test]
    fn channels_go_where_a_listener_expects_them() {
        assert_eq!(mapped(&[0.5, 0.25], 1, 2), [0.5, 0.5, 0.25, 0.25]);
        assert_eq!(mapped(&[0.5, 0.25], 2, 1), [0.375]);
        assert_eq!(mapped(&[0.5, 0.25], 2, 2), [0.5, 0.25]);
        assert_eq!(mapped(&[0.5], 1, 4), [0.5, 0.5, 0.0, 0.0]);
        assert_eq!(mapped(&[0.1, 0.2], 2, 3), [0.1, 0.2, 0.0]);
        assert_eq!(mapped(&[0.1, 0.2, 0.3], 3, 2), [0.1, 0.2]);
    }
}

//! Moving sound between JACK's ports, one for each channel, and interleaved blocks.

use std::iter;

use audiostreamer_core::duration_of;
use jack::{AudioIn, AudioOut, Client, Control, LatencyType, Port, ProcessHandler, ProcessScope};

use super::vitals::Watched;
use super::{Capture, Render};

/// What the server calls once in each period, on its own thread of real-time priority.
pub(super) struct Process<S, F> {
    ports: Vec<Port<S>>,
    callback: F,
    /// A period with the channels interleaved.
    block: Vec<f32>,
}

impl<S, F> Process<S, F> {
    /// For periods of so many frames, as long as the server does not change them.
    pub(super) fn new(ports: Vec<Port<S>>, callback: F, period: usize) -> Self {
        Self { block: vec![0.0; period * ports.len()], ports, callback }
    }

    /// What the server calls our ports.
    pub(super) fn port_names(&self) -> Vec<String> {
        let names = self.ports.iter().filter_map(|port| port.name().ok());
        names.collect()
    }

    fn resize(&mut self, frames: usize) {
        self.block.resize(frames * self.ports.len(), 0.0);
    }
}

impl ProcessHandler for Process<AudioIn, Watched<Capture>> {
    fn process(&mut self, client: &Client, scope: &ProcessScope) -> Control {
        let channels = self.ports.len();
        let frames = (scope.n_frames() as usize).min(self.block.len() / channels);
        let block = &mut self.block[..frames * channels];
        for (channel, port) in self.ports.iter().enumerate() {
            let slots = block.iter_mut().skip(channel).step_by(channels);
            for (slot, sample) in slots.zip(port.as_slice(scope)) {
                *slot = *sample;
            }
        }
        let since_start = scope.frames_since_cycle_start();
        let age = latency(&self.ports, LatencyType::Capture) + since_start;
        let rate = client.sample_rate();
        self.callback.hear(block, duration_of(age.into(), rate));
        Control::Continue
    }

    /// Comes on the server's thread, between two periods, and may take memory.
    fn buffer_size(&mut self, _: &Client, size: jack::Frames) -> Control {
        self.resize(size as usize);
        Control::Continue
    }
}

impl ProcessHandler for Process<AudioOut, Watched<Render>> {
    fn process(&mut self, client: &Client, scope: &ProcessScope) -> Control {
        let channels = self.ports.len();
        let frames = (scope.n_frames() as usize).min(self.block.len() / channels);
        let block = &mut self.block[..frames * channels];
        let since_start = scope.frames_since_cycle_start();
        let delay = latency(&self.ports, LatencyType::Playback).saturating_sub(since_start);
        let rate = client.sample_rate();
        self.callback.fill(block, duration_of(delay.into(), rate));
        for (channel, port) in self.ports.iter_mut().enumerate() {
            let samples = block.iter().copied().skip(channel).step_by(channels);
            let samples = samples.chain(iter::repeat(0.0));
            for (slot, sample) in port.as_mut_slice(scope).iter_mut().zip(samples) {
                *slot = sample;
            }
        }
        Control::Continue
    }

    fn buffer_size(&mut self, _: &Client, size: jack::Frames) -> Control {
        self.resize(size as usize);
        Control::Continue
    }
}

/// The longest way between our ports and the air, in frames from the start of the period.
fn latency<S>(ports: &[Port<S>], direction: LatencyType) -> jack::Frames {
    let ranges = ports.iter().map(|port| port.get_latency_range(direction));
    ranges.map(|(_, longest)| longest).max().unwrap_or(0)
}

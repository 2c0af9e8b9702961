pub fn raise_for_audio() -> bool {
    true
}

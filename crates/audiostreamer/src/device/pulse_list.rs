//! Which devices a PulseAudio server has.

use std::ffi::CStr;

use pulseaudio::protocol::{Command, SampleSpec, ServerInfo, SinkInfoList, SourceInfoList};

use super::host::{Direction, Host};
use super::list::Device;
use super::pulse_wire::{Server, WireError};

/// What the server has; nothing if there is no server.
pub(super) fn devices() -> Vec<Device> {
    Server::connect().and_then(list).unwrap_or_default()
}

fn list(mut server: Server) -> Result<Vec<Device>, WireError> {
    let about: ServerInfo = server.ask(&Command::GetServerInfo)?;
    let sinks: SinkInfoList = server.ask(&Command::GetSinkInfoList)?;
    let sources: SourceInfoList = server.ask(&Command::GetSourceInfoList)?;
    let sinks = sinks.iter().map(|sink| {
        let default = about.default_sink_name.as_ref() == Some(&sink.name);
        let description = sink.description.as_deref();
        describe(&sink.name, description, &sink.sample_spec, Direction::Output, default)
    });
    let sources = sources.iter().map(|source| {
        let default = about.default_source_name.as_ref() == Some(&source.name);
        let description = source.description.as_deref();
        describe(&source.name, description, &source.sample_spec, Direction::Input, default)
    });
    Ok(sinks.chain(sources).collect())
}

fn describe(name: &CStr, description: Option<&CStr>, spec: &SampleSpec, direction: Direction, default: bool) -> Device {
    Device {
        index: 0,
        host: Host::Pulse,
        name: readable(description.unwrap_or(name)),
        id: format!("{}:{}", Host::Pulse.prefix(), readable(name)),
        directions: vec![direction],
        rates: vec![spec.sample_rate],
        channels: vec![u16::from(spec.channels)],
        default_for: if default { vec![direction] } else { Vec::new() },
    }
}

/// A server's text, as far as it is text.
pub(super) fn readable(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

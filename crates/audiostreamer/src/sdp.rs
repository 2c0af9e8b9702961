//! Session descriptions (SDP, RFC 8866): for other programs to receive by, and to know what other
//! programs send.

use std::net::IpAddr;
use std::path::Path;

use audiostreamer_core::{CHANNELS_MAX, Codec, Encoding, Format, PayloadTypes};
use sdp_types::{AddrType, Attribute, Connection, Media, NetType, Origin, ParserError, Session, Time};

use crate::error::{Error, plain};
use crate::link::Transport;

/// Writes a description of one stream of `format`, as it will arrive at `host` and `port`.
pub fn write(
    path: &Path,
    (host, port): (&str, u16),
    transport: Transport,
    payload_type: u8,
    format: Format,
) -> Result<(), Error> {
    let mut text = Vec::new();
    let session = describe(host, port, transport, payload_type, format);
    session.write(&mut text).map_err(|error| failed(path, error))?;
    std::fs::write(path, text).map_err(|error| failed(path, plain(&error)))
}

/// Reads which payload type means what, beyond those that are agreed anyway, and to which port it is sent.
pub fn read(path: &Path) -> Result<(PayloadTypes, u16), Error> {
    let text = std::fs::read(path).map_err(|error| failed(path, plain(&error)))?;
    let session = parse(&text).map_err(|error| failed(path, format!("not a session description: {error}")))?;
    payload_types(&session)
        .zip(session.medias.iter().find(|media| media.media == "audio").map(|media| media.port))
        .ok_or_else(|| failed(path, "describes no audio in opus, L16 or L24; those are what can be played"))
}

/// What ffmpeg prints where it is given no `-sdp_file` begins with a line that is no part of it.
fn parse(text: &[u8]) -> Result<Session, ParserError> {
    let text = text.strip_prefix(b"SDP:").map_or(text, <[u8]>::trim_ascii_start);
    Session::parse(text)
}

fn failed(path: &Path, why: impl ToString) -> Error {
    Error::Sdp { path: path.display().to_string(), why: why.to_string() }
}

fn describe(host: &str, port: u16, transport: Transport, payload_type: u8, format: Format) -> Session {
    let addrtype = match host.parse() {
        Ok(IpAddr::V6(_)) => AddrType::Ip6,
        _ => AddrType::Ip4,
    };
    let nettype = NetType::In;
    let attribute = |name: &str, value: Option<String>| Attribute { attribute: name.into(), value };
    let mut attributes = vec![
        attribute("rtpmap", Some(format!("{payload_type} {}", encoding_name(format)))),
        attribute("rtcp-mux", None),
        attribute("recvonly", None),
    ];
    if format.codec == Codec::Opus {
        attributes.push(attribute("fmtp", Some(format!("{payload_type} stereo=1;sprop-stereo=1"))));
    }
    let proto = match transport {
        Transport::Udp => "RTP/AVP",
        Transport::Tcp => "TCP/RTP/AVP", // RFC 4571 section 3
    };
    Session {
        origin: Origin {
            username: None,
            sess_id: "0".into(),
            sess_version: 0,
            nettype: nettype.clone(),
            addrtype: addrtype.clone(),
            unicast_address: host.into(),
        },
        session_name: "AudioStreamer".into(),
        session_description: None,
        uri: None,
        emails: vec![],
        phones: vec![],
        connection: Some(Connection { nettype, addrtype, connection_address: host.into() }),
        bandwidths: vec![],
        times: vec![Time { start_time: 0, stop_time: 0, repeats: vec![] }],
        time_zones: vec![],
        key: None,
        attributes: vec![],
        medias: vec![Media {
            media: "audio".into(),
            port,
            num_ports: None,
            proto: proto.into(),
            fmt: payload_type.to_string(),
            media_title: None,
            connections: vec![],
            bandwidths: vec![],
            key: None,
            attributes,
        }],
    }
}

/// `opus/48000/2`, `L16/44100/1`: what stands behind the payload type in an rtpmap.
fn encoding_name(format: Format) -> String {
    let name = match format.codec {
        Codec::Opus => "opus",
        Codec::Pcm(Encoding::S24Be) => "L24",
        Codec::Pcm(_) => "L16",
    };
    format!("{name}/{}/{}", format.rate, format.channels)
}

fn payload_types(session: &Session) -> Option<PayloadTypes> {
    let mut types = PayloadTypes::default();
    let mut known = 0;
    for media in session.medias.iter().filter(|media| media.media == "audio") {
        // Static types need no rtpmap.
        let offered = media.fmt.split_whitespace().filter_map(|number| number.parse().ok());
        known += offered.filter(|&number: &u8| types.format(number).is_some() && number < 96).count();
        for attribute in media.attributes.iter().filter(|attribute| attribute.attribute == "rtpmap") {
            if let Some((payload_type, format)) = attribute.value.as_deref().and_then(rtpmap) {
                types.set(payload_type, format);
                known += 1;
            }
        }
    }
    (known > 0).then_some(types)
}

/// `96 opus/48000/2`; channels are one where they are not given (RFC 8866 section 6.6).
fn rtpmap(text: &str) -> Option<(u8, Format)> {
    let (payload_type, encoding) = text.split_once(' ')?;
    let mut parts = encoding.trim().split('/');
    let (name, rate) = (parts.next()?, parts.next()?.parse().ok()?);
    let channels = parts.next().map_or(Some(1), |channels| channels.parse().ok())?;
    let format = match name.to_ascii_lowercase().as_str() {
        "opus" => Format::OPUS,
        "l16" => Format::l16(rate, channels),
        "l24" => Format::l24(rate, channels),
        _ => return None,
    };
    let sane = (1_000..=384_000).contains(&format.rate) && (1..=CHANNELS_MAX).contains(&format.channels);
    Some((payload_type.parse().ok()?, format)).filter(|_| sane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let path = std::env::temp_dir().join(format!("audiostreamer-{}.sdp", std::process::id()));
        for (payload_type, format) in [(96, Format::OPUS), (120, Format::l24(96_000, 1)), (10, Format::l16(44_100, 2))]
        {
            write(&path, ("127.0.0.1", 5006), Transport::Udp, payload_type, format).unwrap();
            let (types, port) = read(&path).unwrap();
            assert_eq!((types.format(payload_type), port), (Some(format), 5006));
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_description_by_ffmpeg_is_understood() {
        let text = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=tool:libavformat\r\n\
            m=audio 5004 RTP/AVP 97\r\nb=AS:64\r\na=rtpmap:97 opus/48000/2\r\na=fmtp:97 sprop-stereo=1\r\n";
        for printed in [text.to_owned(), format!("SDP:\n{text}\n")] {
            let types = payload_types(&parse(printed.as_bytes()).unwrap()).unwrap();
            assert_eq!(types.format(97), Some(Format::OPUS));
        }
    }

    #[test]
    fn what_can_not_be_played_is_refused() {
        let text =
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 5004 RTP/AVP 97\r\na=rtpmap:97 G722/8000\r\n";
        assert_eq!(payload_types(&Session::parse(text.as_bytes()).unwrap()), None);
        assert!(rtpmap("97 L16/0/2").is_none());
        assert!(rtpmap("97 L16/48000/99").is_none());
    }
}

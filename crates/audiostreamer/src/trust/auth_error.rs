//! Why a link is not made although somebody answers: a hard stop, said so that it can be acted on.

use super::Fingerprint;
use crate::link::control::Refusal;

/// One side does not accept the other. Trying again would change nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum AuthError {
    /// Another key than the one that was kept at the first meeting.
    #[error(
        "the key of {peer} has changed: it was {known}, now it is {shown}. \
         Either the server was set up anew, or somebody else answers in its place. Compare with what \
         `audiostreamer identity` says there; if it is the same, use a new invite of the server, or delete the line of \
         {peer} in {file}"
    )]
    KeyChanged { peer: String, known: Fingerprint, shown: Fingerprint, file: String },
    /// Another key than the one in the invite.
    #[error(
        "{peer} is not the server that has made this invite: its key is {shown}, the invite says {invited}. \
         Nothing was sent to it; ask for a new invite"
    )]
    NotTheInviter { peer: String, invited: Fingerprint, shown: Fingerprint },
    /// Another key than the one that it was to have.
    #[error(
        "{peer} is not the server that was meant: its key is {shown}, and should be {meant}. Nothing was sent to it; \
         somebody may have announced himself in its place"
    )]
    NotTheMeant { peer: String, meant: Fingerprint, shown: Fingerprint },
    /// The server has answered, and says no.
    #[error("{peer} lets us not in: {why}. {}", way_out(*why, own))]
    Refused { peer: String, why: Refusal, own: Fingerprint },
    /// The server could not prove that it knows the code.
    #[error(
        "{peer} does not know the code: it was mistyped, or somebody else answers in its place. \
         Look at it again, or make a new one there: `audiostreamer pair`"
    )]
    NotThePaired { peer: String },
    /// A server that was started with --plain or --raw.
    #[error(
        "{peer} does not encrypt: it was started with --plain (or --raw). Start it without, or this client with the \
        same option"
    )]
    ServerIsPlain { peer: String },
    /// A client that was started with --plain at a server that was not.
    #[error("{peer} accepts encrypted sound only. Leave out --plain here, or start the server with --plain, too")]
    ServerIsSecure { peer: String },
}

fn way_out(why: Refusal, own: &Fingerprint) -> String {
    match why {
        Refusal::NoPairing | Refusal::WrongCode => {
            "`audiostreamer pair` on the server shows a code; it is good for three tries and ten minutes".into()
        }
        Refusal::Kicked => "Ask whoever runs it; nothing keeps this client from coming back".into(),
        Refusal::Version | Refusal::Other => "Bring both programs to the same version".into(),
        _ => format!(
            "Ask for an invite: `audiostreamer invite` on the server makes one for `audiostreamer client INVITE` \
             (this machine's key is {own})"
        ),
    }
}

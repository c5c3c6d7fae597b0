//! MQTT over WebSocket (MQTT 5.0, 6): path `/mqtt`, subprotocol `mqtt`, binary frames. The frames
//! carry the byte stream; they need not match packets.

use std::io;

use ntex::PipelineBinding;
use ntex::http::body::BodySize;
use ntex::http::error::DispatchError;
use ntex::http::{HttpService, Request, Response, StatusCode, h1};
use ntex::io::{Filter, Io, IoBoxed, Layer};
use ntex::service::Service;
use ntex::ws::{Codec, WsTransport, handshake};

const PATH: &str = "/mqtt";
/// One frame may hold several packets, so it may be larger than the largest of them.
const FRAME_BYTES_MIN: usize = 1024 * 1024;

/// An HTTP service that hands connections to `mqtt` once they speak WebSocket.
pub(crate) fn service<F: Filter>(
    mqtt: PipelineBinding<IoBoxed, (), io::Error>,
    packet_bytes_max: usize,
) -> impl Service<(), Io<F>, Res = (), Error = DispatchError> {
    let frame_bytes_max = packet_bytes_max.saturating_mul(2).max(FRAME_BYTES_MIN);
    let plain = async |_| {
        Ok::<_, io::Error>(Response::NotFound().body("mqtt over websocket is at /mqtt\n"))
    };
    HttpService::new(plain).h1_control(async move |message: h1::Control<_, _>| {
        let ack = match message {
            h1::Control::Upgrade(upgrade) => {
                let (ack, io, request, codec) = upgrade.handle();
                if let Some(io) = accept(io, &request, &codec, frame_bytes_max).await? {
                    mqtt.call(io.boxed()).await?;
                }
                ack
            }
            other => other.ack(),
        };
        Ok::<_, io::Error>(ack)
    })
}

/// Answers the handshake; `None`: it was refused and the connection is closed.
async fn accept<F: Filter>(
    io: Io<F>,
    request: &Request,
    codec: &h1::Codec,
    frame_bytes_max: usize,
) -> io::Result<Option<Io<Layer<WsTransport, F>>>> {
    let answer = if request.path() == PATH {
        handshake(request.head()).map_err(|_| StatusCode::BAD_REQUEST)
    } else {
        Err(StatusCode::NOT_FOUND)
    };
    let (response, accepted) = match answer {
        Ok(mut response) => {
            if let Some(protocol) = subprotocol(request) {
                response.header("sec-websocket-protocol", protocol);
            }
            (response.build(), true)
        }
        Err(status) => (Response::new(status), false),
    };
    let head = h1::Message::Item((response.drop_body(), BodySize::Empty));
    io.send(head, codec)
        .await
        .map_err(|error| io::Error::other(format!("{error:?}")))?;
    Ok(accepted.then(|| WsTransport::create(io, Codec::new().max_size(frame_bytes_max))))
}

/// `mqtt` if the client offers it; `mqttv3.1` is what old clients say for 3.1.1.
fn subprotocol(request: &Request) -> Option<&'static str> {
    let offered = request
        .headers()
        .get("sec-websocket-protocol")?
        .to_str()
        .ok()?;
    ["mqtt", "mqttv3.1"]
        .into_iter()
        .find(|known| offered.split(',').any(|one| one.trim() == *known))
}

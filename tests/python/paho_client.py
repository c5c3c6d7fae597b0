"""One MQTT connection by paho-mqtt, driven by the test.

usage: paho_client.py HOST PORT tcp|ws 3|5 CLIENT_ID KEEP_ALIVE_S

MQTT_USERNAME and MQTT_PASSWORD in the environment are its credentials; with MQTT_CA, a PEM file, it speaks TLS and trusts
what that file signed.

Prints "connected" after CONNACK, or "refused" with the reason code. The line "close" on stdin, or its end, disconnects cleanly; then it
prints "closed" and exits. It never reconnects.
"""

import os
import ssl
import sys
import threading

import paho.mqtt.client as mqtt


def main() -> int:
    host, port, transport, version, client_id, keep_alive = sys.argv[1:]
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311,
        transport="websockets" if transport == "ws" else "tcp",
        reconnect_on_failure=False,
    )
    if transport == "ws":
        client.ws_set_options(path="/mqtt")
    if "MQTT_USERNAME" in os.environ:
        client.username_pw_set(os.environ["MQTT_USERNAME"], os.environ.get("MQTT_PASSWORD"))
    if "MQTT_CA" in os.environ:
        client.tls_set(ca_certs=os.environ["MQTT_CA"])
    gone = threading.Event()

    def on_connect(_client, _userdata, _flags, reason, _properties):
        print(f"refused {reason.value}" if reason.is_failure else "connected", flush=True)

    def on_disconnect(_client, _userdata, _flags, _reason, _properties):
        gone.set()

    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    try:
        client.connect(host, int(port), keepalive=int(keep_alive))
    except ssl.SSLError as error:
        print(f"no TLS: {error.reason}", flush=True)
        return 1
    client.loop_start()
    for line in sys.stdin:
        if line.strip() == "close":
            break
    client.disconnect()
    gone.wait(5)
    client.loop_stop()
    print("closed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

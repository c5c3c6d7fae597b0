"""Alibaba Cloud's SDK for ApsaraMQ for MQTT, driven by the test; only its endpoint is another one.

usage: onsmqtt_client.py HTTP|HTTPS HOST:PORT ACCESS_KEY_ID SECRET v3|v2 [CA_FILE]

v3 signs by ACS3-HMAC-SHA256, v2 by the older HMAC-SHA1. Each line of stdin is {"action": NAME, "request": {...}} with the
parameters in their wire names; each answer is a line: {"body": {...}}, or {"error": {"status", "code", "message", "data"}}.
"""

import json
import re
import sys

from alibabacloud_onsmqtt20200420 import models
from alibabacloud_onsmqtt20200420.client import Client
from alibabacloud_tea_openapi import models as open_api_models
from alibabacloud_tea_util import models as util_models


def main() -> int:
    protocol, endpoint, key, secret, signature, *ca = sys.argv[1:]
    config = open_api_models.Config(
        access_key_id=key,
        access_key_secret=secret,
        endpoint=endpoint,
        protocol=protocol,
    )
    if signature == "v2":
        config.signature_algorithm = "v2"
    client = Client(config)
    runtime = util_models.RuntimeOptions(autoretry=False, max_attempts=1)
    if ca:
        runtime.ca = ca[0]
    for line in sys.stdin:
        asked = json.loads(line)
        action = asked["action"]
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
        request = getattr(models, action + "Request")().from_map(asked["request"])
        try:
            answer = getattr(client, method + "_with_options")(request, runtime)
            print(json.dumps({"body": answer.body.to_map()}), flush=True)
        except Exception as error:  # The test decides what is expected.
            inner = getattr(error, "inner_exception", None) or error
            print(
                json.dumps(
                    {
                        "error": {
                            "type": type(error).__name__,
                            "status": getattr(inner, "status_code", None) or getattr(inner, "statusCode", None),
                            "code": getattr(inner, "code", None),
                            "message": str(error),
                            "data": getattr(inner, "data", None),
                        }
                    },
                    default=str,
                ),
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())

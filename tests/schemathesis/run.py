#!/usr/bin/env python3
"""Examines the API of a running gateway by its own OpenAPI document.

GROUPCAST_BIN names the binary (default: target/debug/groupcast). Needs requirements.txt.
Further arguments go to `schemathesis run`.
"""

import json
import os
import pathlib
import secrets
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BINARY = os.environ.get("GROUPCAST_BIN", str(HERE.parents[1] / "target/debug/groupcast"))
KEY = secrets.token_urlsafe(24)
CONFIG = f"""
[listen]
public = "127.0.0.1:0"
api = "127.0.0.1:0"

[[auth.key]]
algorithm = "HS256"
secret = "{secrets.token_urlsafe(32)}"

[[api.key]]
name = "schemathesis"
secret = "{KEY}"
groups = ["*"]
allow = ["send", "send_user", "send_all", "members", "read"]

[log]
format = "json"
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "gateway.toml"
        config.write_text(CONFIG)
        log = pathlib.Path(folder) / "log"
        command = [BINARY, "serve", "--config", str(config)]
        with log.open("w") as output:
            gateway = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True)
        try:
            address = json.loads(gateway.stdout.readline() or "{}").get("api")
            if address is None:
                print(f"{BINARY} did not start:\n{log.read_text()}", file=sys.stderr)
                return 1
            return examine(address, folder)
        finally:
            gateway.terminate()
            gateway.communicate(timeout=30)


def examine(address: str, folder: str) -> int:
    schemathesis = [sys.executable, "-m", "schemathesis.cli"]
    settings = ["--config-file", str(HERE / "schemathesis.toml")]
    url = f"http://{address}/openapi.json"
    environment = os.environ | {"API_KEY": KEY, "PYTHONPATH": str(HERE)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [*schemathesis, *settings, "run", url, *sys.argv[1:]]
    return subprocess.run(command, cwd=folder, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())

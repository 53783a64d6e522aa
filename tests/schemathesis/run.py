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
import time

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
allow = ["send", "send_user", "send_all", "members", "close", "read", "console", "tasks"]

[log]
format = "json"
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "gateway.toml"
        config.write_text(CONFIG)
        log = pathlib.Path(folder) / "log"
        command = [BINARY, "serve", "--config", str(config)]
        # The gateway takes every GROUPCAST_ variable for configuration, and refuses unknown ones.
        ours = {k: v for k, v in os.environ.items() if not k.startswith("GROUPCAST_")}
        # A file, not a pipe: a pipe that is not read would block the gateway.
        with log.open("w") as lines:
            gateway = subprocess.Popen(command, stdout=lines, stderr=lines, env=ours)
        try:
            address = listening(gateway, log)
            if address is None:
                print(f"{BINARY} did not start:\n{log.read_text()}", file=sys.stderr)
                return 1
            return examine(address, folder)
        finally:
            gateway.terminate()
            gateway.wait(timeout=30)


def listening(gateway: subprocess.Popen, log: pathlib.Path) -> str | None:
    """The address of the API, as soon as the log has it."""
    deadline = time.monotonic() + 30
    while gateway.poll() is None and time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if line.endswith("}") and (address := json.loads(line).get("api")):
                return address
        time.sleep(0.05)
    return None


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

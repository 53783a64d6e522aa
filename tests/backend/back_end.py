"""A back end of the tests: the connect hook and calls over the standard library's HTTP server.

Prints its port, then serves. Signatures are verified as in docs/backend.md. `POST /control` sets
how it answers from now on, `GET /received` returns the requests it has received.
"""

import hashlib
import hmac
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = b"a secret that both sides of the tests know"


class Site:
    """What the handlers share."""

    def __init__(self):
        self.lock = threading.Lock()
        self.control = {}
        self.hooks = []
        self.calls = []
        self.busy = 0
        self.most = 0
        self.gate = threading.Event()
        self.gate.set()

    def enter(self):
        with self.lock:
            self.busy += 1
            self.most = max(self.most, self.busy)

    def leave(self):
        with self.lock:
            self.busy -= 1


SITE = Site()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def answer(self, status, body=None, headers=()):
        if isinstance(body, str):
            kind, text = "text/html", body.encode()
        else:
            kind, text = "application/json", b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if status != 204:
            self.wfile.write(text)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def is_signed(self, body):
        given = dict(part.split("=", 1) for part in self.headers["Groupcast-Signature"].split(","))
        if abs(time.time() - int(given["t"])) > 300 or given["kid"] != "1":
            return False
        lines = [given["t"], self.command, self.path, self.headers.get("Groupcast-Path", "")]
        signed = "\n".join(lines).encode() + b"\n" + body
        wanted = hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
        return hmac.compare_digest(wanted, given["v1"])

    def do_GET(self):
        if self.path == "/received":
            with SITE.lock:
                names = ("hooks", "calls", "most", "busy")
                received = {name: getattr(SITE, name) for name in names}
                return self.answer(200, received)
        if not self.is_signed(b""):
            return self.answer(401, {"code": "bad_signature"})
        SITE.enter()
        try:
            self.connect()
        finally:
            SITE.leave()

    def do_POST(self):
        body = self.body()
        if self.path == "/control":
            with SITE.lock:
                SITE.control = json.loads(body)
            SITE.gate.clear() if SITE.control.get("hold") else SITE.gate.set()
            return self.answer(204)
        if not self.is_signed(body):
            return self.answer(401, {"code": "bad_signature"})
        SITE.enter()
        try:
            self.call(json.loads(body))
        finally:
            SITE.leave()

    def connect(self):
        with SITE.lock:
            SITE.hooks.append({"target": self.path, "headers": dict(self.headers)})
            control = dict(SITE.control)
        SITE.gate.wait()
        time.sleep(control.get("delay", 0))
        if "status" in control:
            headers = [("Location", control["location"])] if "location" in control else []
            return self.answer(control["status"], control.get("body", ""), headers)
        pairs = self.headers.get("Cookie", "").split(";")
        cookies = dict(pair.strip().split("=", 1) for pair in pairs if "=" in pair)
        sub = cookies.get("sessionid")
        if sub is None:
            return self.answer(401, {"code": "anonymous"})
        if sub == "prohibido":
            return self.answer(403, {"code": "forbidden"})
        answer = {"sub": sub, "groups": ["usuario_" + sub]}
        answer.update(control.get("answer", {}))
        self.answer(200, answer)

    def call(self, body):
        with SITE.lock:
            SITE.calls.append(body)
        name, data = body["call"], body["data"]
        if name == "espera":
            SITE.gate.wait()
            return self.answer(200, {"result": data})
        if name == "eco":
            received = {"body": body, "key": self.headers.get("Idempotency-Key")}
            return self.answer(200, {"result": received})
        if name == "nada":
            return self.answer(204)
        if name == "responde":
            return self.answer(200, data.get("answer"))
        if name == "falla":
            return self.answer(data["status"], data.get("body"))
        self.answer(404, {})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    # Ends with the test that holds the other end.
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()

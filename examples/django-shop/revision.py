#!/usr/bin/env python3
"""The content check that the shop asks about each photo: a service of somebody else's, that fails.

    revision.py PORT

The failures follow a pattern, so that the demo shows the same every time. By the photo's number, the
first requests for it: every third photo is served at once, the next one is answered 503 once, the
next one 503 and then not at all (the connection just ends). A photo whose name begins with "falla"
is never served.
"""

import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAILURES = ((), ("busy",), ("busy", "gone"))
asked = Counter()


class Revision(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        photo = self.headers.get("X-Photo", "0")
        failures = FAILURES[int(photo) % len(FAILURES)]
        attempt, asked[photo] = asked[photo], asked[photo] + 1
        broken = self.headers.get("X-Name", "").startswith("falla")
        failure = "busy" if broken else failures[attempt] if attempt < len(failures) else None
        match failure:
            case "gone":
                self.close_connection = True
            case "busy":
                self.answer(503, b'{"error": "busy"}')
            case None:
                self.answer(200, b'{"ok": true}')

    def do_GET(self):
        self.answer(200, b'{"up": true}')

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Revision).serve_forever()

"""A gateway of the test's own, whose answers are given."""

import http.server
import threading


class Script(http.server.ThreadingHTTPServer):
    """An API with scripted answers that records the requests."""

    daemon_threads = True

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.connections = 0
        script = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                script.connections += 1
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                script.asked.append((self.path, dict(self.headers), body))
                status, headers, content = script.answers.pop(0)
                if status is None:  # hangs up instead
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def keys(self):
        return [headers.get("Idempotency-Key") for _, headers, _ in self.asked]

#!/usr/bin/env python3
"""Starts the shop and all that belongs to it, and ends it again: on Ctrl-C, or when a part fails.

    make demo

Redis, the content check, Django under gunicorn, a Celery worker and beat, two gateways, and nginx in
front. Each is a real process on a port of its own, with its data and log in one temporary folder. A
gateway that is killed comes back, as under systemd; the end of anything else ends the demo.
Python's standard library only; what the shop needs is in requirements.txt.
"""

import argparse
import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PORT = 8090
# Placeholders in nginx.conf, too. PORT is where people go, API where the site reaches both gateways.
PORTS = (
    "PORT API SITE REDIS REVISION GATEWAY_A API_A GATEWAY_B API_B DAPHNE AMQP AMQP_DIST EPMD".split()
)
# Of the environment this is started in, nothing that the shop or the gateway would take for its own.
OURS = ("GROUPCAST_", "TIENDA_", "DJANGO_")
PYTHON = shlex.quote(sys.executable)
START_S = 60
STOP_S = 10
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Failed(Exception):
    """A part did not start, or ended by itself. The text is for the terminal."""


class Part:
    """A process of the demo."""

    def __init__(self, name, command, env, log, revive=False):
        self.name, self.command, self.env, self.log, self.revive = name, command, env, log, revive
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for this script, which ends the parts in order.
            self.process = subprocess.Popen(
                self.command,
                cwd=HERE,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
            )

    @property
    def pid(self):
        return self.process.pid

    def ended(self):
        return self.process.poll() is not None

    def stop(self):
        if not self.ended():
            self.process.terminate()

    def await_end(self):
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tail(self, lines=25):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Demo:
    def __init__(self, options, folder):
        self.options, self.folder, self.parts = options, folder, []
        self.ports = free_ports(PORTS)
        if port_is_free(options.port):
            self.ports["PORT"] = options.port
        self.passwords = {name: f"{name}-{secrets.token_hex(4)}" for name in ("ana", "bea")}
        self.clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        shared = self.clean | {
            "TIENDA_GROUPCAST_KEY": secrets.token_urlsafe(32),
            "TIENDA_GROUPCAST_SECRET": secrets.token_urlsafe(32),
        }
        redis = f"redis://127.0.0.1:{self.ports['REDIS']}"
        self.gateway_env = shared | {
            "GROUPCAST_LAYER_URL": redis,
            "GROUPCAST_CELERY_BROKER": f"{redis}/1",
            "GROUPCAST_BACKEND_URL": f"http://127.0.0.1:{self.ports['SITE']}",
        }
        site = "antes.settings" if options.with_daphne else "tienda.settings"
        self.site_env = shared | {
            "DJANGO_SETTINGS_MODULE": site,
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TIENDA_DATA": str(folder / "datos"),
            "TIENDA_REDIS": redis,
            "TIENDA_SECRET_KEY": secrets.token_urlsafe(50),
            "TIENDA_GROUPCAST_API": f"http://127.0.0.1:{self.ports['API']}",
            "TIENDA_REVISION": f"http://127.0.0.1:{self.ports['REVISION']}/",
            "TIENDA_RESUMEN_SEGUNDOS": str(options.summary_seconds),
        }
        self.amqp = None
        if options.broker == "rabbitmq":
            self.amqp = f"amqp://guest:guest@127.0.0.1:{self.ports['AMQP']}//"
            self.site_env["TIENDA_BROKER"] = self.amqp
            self.gateway_env["GROUPCAST_CELERY_BROKER"] = self.amqp
            self.gateway_env["GROUPCAST_AMQP_URL"] = self.amqp
        if options.results == "rpc":
            self.site_env["TIENDA_RESULTS"] = "rpc://"
            broker = self.gateway_env["GROUPCAST_CELERY_BROKER"]
            self.gateway_env["GROUPCAST_CELERY_EVENTS"] = broker
        else:
            self.gateway_env["GROUPCAST_CELERY_RESULTS"] = f"{redis}/2"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.ports['PORT']}/"

    def start(self):
        ports, folder, site = self.ports, shlex.quote(str(self.folder)), self.site_env
        for name in ("datos", "redis", "log"):
            (self.folder / name).mkdir()
        redis = f"--port {ports['REDIS']} --bind 127.0.0.1 --dir {folder}/redis"
        self.run("redis", f"{program('redis-server')} {redis} --save '' --appendonly no")
        if self.options.broker == "rabbitmq":
            self.start_rabbitmq()
        self.run("revision", f"{PYTHON} revision.py {ports['REVISION']}")
        self.await_port("redis", ports["REDIS"])

        self.say("database and static files")
        self.manage("migrate", "--verbosity", "0")
        self.manage("collectstatic", "--noinput", "--verbosity", "0")
        self.manage("sembrar", input=json.dumps(self.passwords))

        gunicorn = "--workers 2 --threads 4 --graceful-timeout 3 --no-control-socket --access-logfile -"
        bind = f"--bind 127.0.0.1:{ports['SITE']}"
        self.run("site", f"{PYTHON} -m gunicorn tienda.wsgi {bind} {gunicorn}", site)
        celery = f"{PYTHON} -m celery --app tienda"
        events = "-E " if self.options.results == "rpc" else ""
        options = f"{events}--pool prefork --concurrency 3 --loglevel INFO"
        self.run("worker", f"{celery} worker {options}", site)
        self.run("beat", f"{celery} beat --schedule {folder}/datos/beat --loglevel INFO", site)
        if self.options.with_daphne:
            self.start_daphne()
        for name in ("A", "B"):
            self.start_gateway(name)
        (self.folder / "nginx.conf").write_text(self.filled(HERE / "nginx.conf"))
        self.run("nginx", f"{program('nginx')} -e stderr -p {folder} -c {folder}/nginx.conf")

        self.await_http("site", ports["SITE"], "/entrar/")
        for name in ("A", "B"):
            self.await_http(f"gateway-{name.lower()}", ports[f"API_{name}"], "/readyz")
        self.await_http("nginx", ports["PORT"], "/entrar/")
        self.await_log("worker", " ready.")

    def start_gateway(self, name):
        environment = self.gateway_env | {
            "GROUPCAST_LISTEN_PUBLIC": f"127.0.0.1:{self.ports[f'GATEWAY_{name}']}",
            "GROUPCAST_LISTEN_API": f"127.0.0.1:{self.ports[f'API_{name}']}",
        }
        command = f"{program(self.options.gateway)} serve --config gateway.toml"
        self.run(f"gateway-{name.lower()}", command, environment, revive=True)

    def start_rabbitmq(self):
        """A node of its own: name, ports, data and log are this demo's."""
        home, port, epmd = self.folder / "rabbitmq", self.ports["AMQP"], self.ports["EPMD"]
        home.mkdir()
        conf = f"listeners.tcp.1 = 127.0.0.1:{port}\nlog.console = true\nlog.file = false\n"
        (home / "rabbitmq.conf").write_text(conf)
        (home / "plugins").write_text("[].\n")
        # Else RabbitMQ starts one of its own, which outlives it.
        self.run("epmd", f"{program('epmd')} -address 127.0.0.1 -port {epmd}")
        self.await_port("epmd", epmd)
        environment = self.clean | {
            "HOME": str(home),
            "RABBITMQ_NODENAME": f"groupcast-shop-{port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_DIST_PORT": str(self.ports["AMQP_DIST"]),
            "ERL_EPMD_PORT": str(epmd),
        }
        # Not the one in PATH, which wants to be another user.
        self.run("rabbitmq", program("rabbitmq-server", "/usr/lib/rabbitmq/bin"), environment)
        self.say("RabbitMQ, which takes a while")
        self.await_port("rabbitmq", port)

    def start_daphne(self):
        """The consumers that the shop had, beside the gateway and in the same groups."""
        bind = f"--bind 127.0.0.1 --port {self.ports['DAPHNE']}"
        self.run("daphne", f"{PYTHON} -m daphne {bind} antes.asgi:application", self.site_env)
        (self.folder / "before.conf").write_text(self.filled(HERE / "antes" / "nginx.conf"))
        self.await_port("daphne", self.ports["DAPHNE"])

    def watch(self):
        """Until Ctrl-C; a gateway that ended is started again."""
        while True:
            for part in self.parts:
                if not part.ended():
                    continue
                if not part.revive:
                    raise Failed(f"{part.name} ended with {part.process.returncode}:\n{part.tail()}")
                self.say(f"{part.name} ended with {part.process.returncode}; starting it again")
                part.start()
                self.tell()
            time.sleep(0.2)

    def stop(self):
        """First what uses Redis and RabbitMQ, all at once; then those."""
        stores = [part for part in self.parts if part.name in ("redis", "epmd", "rabbitmq")]
        for parts in ([part for part in self.parts if part not in stores], stores):
            for part in parts:
                part.stop()
            for part in parts:
                part.await_end()

    def tell(self):
        """Writes where everything is, for tests."""
        if not self.options.ready_file:
            return
        facts = {
            "url": self.url,
            "passwords": self.passwords,
            "pids": {part.name: part.pid for part in self.parts},
            "ports": self.ports,
            "folder": str(self.folder),
            "amqp": self.amqp,
        }
        fresh = self.options.ready_file.with_suffix(".new")
        fresh.write_text(json.dumps(facts))
        fresh.replace(self.options.ready_file)

    def run(self, name, command, env=None, revive=False):
        self.say(name)
        log = self.folder / "log" / f"{name}.log"
        self.parts.append(Part(name, shlex.split(command), env or self.clean, log, revive))

    def manage(self, *command, input=""):
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=HERE,
            env=self.site_env,
            input=input,
            text=True,
            capture_output=True,
        )
        if done.returncode:
            raise Failed(f"manage.py {command[0]}:\n{done.stdout}{done.stderr}")

    def filled(self, template):
        text = template.read_text().replace("@DATA@", str(self.folder))
        for name, port in self.ports.items():
            text = text.replace(f"@{name}@", str(port))
        return text

    def await_port(self, name, port):
        self.await_true(name, lambda: connects(port))

    def await_http(self, name, port, path):
        self.await_true(name, lambda: answers(port, path))

    def await_log(self, name, words):
        part = next(part for part in self.parts if part.name == name)
        self.await_true(name, lambda: words in part.log.read_text(errors="replace"))

    def await_true(self, name, condition):
        deadline = time.monotonic() + START_S
        while not condition():
            for part in self.parts:
                if part.ended():
                    raise Failed(f"{part.name} ended with {part.process.returncode}:\n{part.tail()}")
            if time.monotonic() > deadline:
                part = next(part for part in self.parts if part.name == name)
                raise Failed(f"{name} was not ready after {START_S} s:\n{part.tail()}")
            time.sleep(0.05)

    def say(self, text):
        print(f"   {text}", flush=True)


def program(name, folder=None):
    found = shutil.which(name, path=folder or f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise Failed(f"{name} is not there; `make demo` installs and builds what is missing")
    return shlex.quote(found)


def free_ports(names):
    """One for each name. All are held until the last is found, so that none is given twice."""
    with contextlib.ExitStack() as held:
        probes = {name: held.enter_context(socket.socket()) for name in names}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {name: probe.getsockname()[1] for name, probe in probes.items()}


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return port != 0


def connects(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def answers(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status == 200
    return False


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--port", type=int, default=PORT, help=f"where the shop is ({PORT}; another one if taken)")
    option("--gateway", default=str(ROOT / "target/release/groupcast"), help="the groupcast binary")
    option("--broker", choices=["redis", "rabbitmq"], default="redis", help="where Celery's tasks wait")
    option("--results", choices=["redis", "rpc"], default="redis", help="where Celery's results go")
    option("--with-daphne", action="store_true", help="the consumers the shop had, beside the gateways")
    option("--summary-seconds", type=float, default=60, help="between two summaries (60)")
    option("--ready-file", type=pathlib.Path, help="written once all runs: URL, users, processes")
    return parser.parse_args()


GREETING = """
   The shop is open:  {url}

   ana   {ana}
   bea   {bea}     (in a private window, to sell to each other)

   Kill a gateway and look at the page:   kill {gateway}
   Logs: {logs}
   Ctrl-C ends everything.
"""


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    # A shell that starts this in the background has SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="groupcast-shop-") as name:
        folder = pathlib.Path(name)
        # nginx, when started by root, works as another user and must find its own folders.
        folder.chmod(0o711)
        demo = Demo(options, folder)
        try:
            demo.start()
            demo.tell()
            pid = next(part.pid for part in demo.parts if part.name == "gateway-a")
            print(
                GREETING.format(url=demo.url, logs=folder / "log", gateway=pid, **demo.passwords),
                flush=True,
            )
            demo.watch()
        except KeyboardInterrupt:
            return 0
        except Failed as failure:
            print(failure, file=sys.stderr)
            return 1
        finally:
            # A second Ctrl-C must not leave parts behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            demo.say("ending")
            demo.stop()


if __name__ == "__main__":
    sys.exit(main())

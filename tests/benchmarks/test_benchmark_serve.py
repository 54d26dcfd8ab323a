import http.server
import json
import threading

import pytest


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body["task"])
        content = json.dumps({"predictions": [{"prediction": "yes"}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture(name="server")
def _server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads, server.asked = True, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_clients_ask_until_the_time_is_over(server, capsys):
    import serve

    seconds, latencies = serve.ask(server.server_port, 0.1, 3, 4)
    assert 0.1 <= seconds < 10 and len(latencies) == len(server.asked) > 3
    assert set(server.asked) == {f"task_{k}" for k in range(4)}
    assert serve.one_answer(server.server_port) == "yes"
    row = serve.show("some", "one task", 3, 2.0, [0.001, 0.002, 0.003, 0.004])
    assert capsys.readouterr().out.split() == ["some,", "one", "task", "3", "2.0", "2.5", "4.0"]
    assert [row["clients"], row["requests_per_s"], row["p50_ms"]] == [3, 2.0, 2.5]

"""`t5x serve` as a process of its own, asked by real clients at once."""

import concurrent.futures
import dataclasses
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import toy_prompts

import mpt_jax
from mpt_jax import cli
from mpt_jax.product import product_file
from mpt_jax.serve import command

TEXTS = ["the judge resisted the law .", "yes", "a mayor in madrid on friday in may", "it was good"]
MIXED = ["nli", "qa", "sst", "nli"]
LONG = "the governor supported the ban in madrid " * 4
QUEUE, MAX_BODY = 64, 20_000
SECONDS = 60


class Server:
    """The process, and what it has said so far."""

    def __init__(self, backbone, prompts):
        flags = ["--port=0", "--batch_size=8", f"--queue={QUEUE}", f"--max_body={MAX_BODY}"]
        command = [sys.executable, "-m", "mpt_jax.cli", "serve", prompts, f"--backbone={backbone}"]
        self.process = subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True)
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(re.search(r"http://127.0.0.1:(\d+)", self.said("answers for"))[1])

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def said(self, words):
        """The line with these words, once it is there."""
        return until(lambda: next((line for line in self.lines if words in line), None))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(SECONDS)
        self._reader.join()
        return status

    def ask(self, path, body=None):
        """(status, answer) of a request; JSON is given and taken as it is."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body), timeout=SECONDS
            ) as response:
                status, content = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        return status, json.loads(content) if path != "/metrics" else content.decode()

    def predict(self, texts, tasks):
        status, answer = self.ask("/predict", {"texts": texts, "tasks": tasks})
        assert status == 200, answer
        return [row["prediction"] for row in answer["predictions"]]

    def counted(self, name):
        text = self.ask("/metrics")[1]
        return sum(float(x) for x in re.findall(rf"(?m)^t5x_serve_{name} (\S+)$", text))


def until(found):
    """The first true result, within a minute."""
    end = time.monotonic() + SECONDS
    while not (result := found()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return result


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    return toy_prompts.write(tmp_path_factory.mktemp("prompts"))


@pytest.fixture(scope="module", name="t5")
def _t5(folder):
    return mpt_jax.load(folder, folder, batch_size=8)


@pytest.fixture(scope="module", name="file")
def _file(folder, tmp_path_factory):
    """The bank that is served, and replaced."""
    place = tmp_path_factory.mktemp("served")
    return product_file.save(str(place), *product_file.load(folder))


@pytest.fixture(scope="module", name="server")
def _server(folder, file):
    server = Server(folder, file)
    yield server
    if server.process.poll() is None:
        server.end()


def test_answers_of_clients_at_once_are_those_of_predict(server, t5):
    """Of few and many texts, short and long, of mixed tasks; some predict and some score."""
    rng = np.random.default_rng(0)
    asked = []
    for _ in range(60):
        count = rng.integers(1, 9)
        texts = [" ".join(["law"] * n) for n in rng.integers(1, 18, count)]
        asked.append((texts, [str(task) for task in rng.choice(t5.tasks, count)]))
    labels = ["no", "yes", "maybe", "good", "bad", "very bad"]  # more than fit into a row

    def client(number):
        texts, tasks = asked[number]
        if number % 3:
            return server.ask("/predict", {"texts": texts, "tasks": tasks})
        return server.ask("/score", {"texts": texts, "tasks": tasks, "labels": labels})

    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # so that all find room
        found = list(pool.map(client, range(len(asked))))
    for number, (status, answer) in enumerate(found):
        texts, tasks = asked[number]
        assert status == 200, answer
        if number % 3:
            expected = t5.predict_with_scores(texts, tasks=tasks)
            rows = answer["predictions"]
            assert [row["prediction"] for row in rows] == [each.text for each in expected]
            np.testing.assert_allclose(
                [row["score"] for row in rows], [each.score for each in expected], rtol=1e-4
            )
        else:
            rows, expected = answer["scores"], t5.score(texts, labels, tasks=tasks)
            assert [row["best"] for row in rows] == expected.best
            values = [[row["log_likelihoods"][label] for label in labels] for row in rows]
            np.testing.assert_allclose(values, expected.log_likelihoods, rtol=1e-4)
        assert [row["task"] for row in rows] == tasks
    assert server.counted("batch_texts_count") < server.counted("batch_texts_sum")
    assert server.counted("queue_texts") == 0 == server.counted("batch_failures_total")


def test_one_text_its_labels_and_what_was_cut(server, t5):
    status, answer = server.ask("/score", {"texts": TEXTS[:2], "tasks": ["nli", "sst"]})
    assert status == 200
    for row, text in zip(answer["scores"], TEXTS[:2], strict=True):
        expected = t5.score([text], task=row["task"])
        assert tuple(row["log_likelihoods"]) == expected.labels and row["best"] == expected.best[0]
    status, answer = server.ask("/predict", {"texts": LONG, "task": "qa"})
    (row,) = answer["predictions"]
    with pytest.warns(UserWarning, match="1 of 1 texts"):
        assert [row["prediction"]] == t5.predict([LONG], "qa")
    assert row["truncated"] and status == 200


def test_what_is_served(server, t5, file):
    status, answer = server.ask("/tasks")
    assert status == 200 and answer["lengths"] == toy_prompts.LENGTHS
    assert [row["task"] for row in answer["tasks"]] == list(t5.tasks)
    assert answer["tasks"][0] == {
        "task": "nli",
        "label_words": ["entailment", "neutral"],
        "input_form": "premise: {premise} hypothesis: {hypothesis}",
    }
    status, answer = server.ask("/health")
    assert (status, answer["status"], answer["tasks"], answer["prompts"]) == (200, "ok", 3, file)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/predict", b"texts", 400, r"^the body is not valid JSON \(Expecting value.*\)\.$"),
        ("/predict", b"", 400, "the body is not valid JSON"),
        ("/predict", b'\xff{"texts": []}', 400, "the body is not valid JSON"),
        ("/predict", b"[" * 1000, 400, "the body is not"),
        ("/predict", b'{"texts": ["a"], "texts": ["b"]}', 400, "name 'texts' is there twice"),
        ("/predict", b'{"texts": [NaN], "task": "nli"}', 400, "NaN is not a JSON number"),
        ("/predict", b'["a"]', 400, 'is not a JSON object: write {"texts": '),
        ("/predict", {"task": "nli"}, 400, '^"texts" is missing, which is not a list'),
        ("/predict", {"texts": 7, "task": "nli"}, 400, '^"texts" is 7, which is not a list'),
        ("/predict", {"texts": [], "task": "nli"}, 400, '^"texts" is empty'),
        ("/predict", {"texts": ["a", " "], "task": "nli"}, 400, "^text 1 is empty: remove it"),
        ("/predict", {"texts": ["a", None], "task": "nli"}, 400, "^text 1 is None, which is not"),
        ("/predict", {"texts": ["\ud800"], "task": "nli"}, 400, "text 0 holds half a character"),
        ("/predict", {"texts": ["a"], "task": "nlx"}, 400, "nli, qa, sst. Did you mean 'nli'"),
        ("/predict", {"texts": ["a"], "task": ["nli"]}, 400, "the task .'nli'. is not a name"),
        ("/predict", {"texts": ["a"]}, 400, "no task was given; it holds nli, qa, sst"),
        ("/predict", {"texts": ["a"], "tasks": "nli"}, 400, "^\"tasks\" is 'nli', which is not"),
        ("/predict", {"texts": ["a"], "tasks": MIXED}, 400, "tasks must be 1 names"),
        ("/predict", {"texts": ["a"], "task": "qa", "tasks": ["qa"]}, 400, "exclude each other"),
        ("/predict", {"texts": ["a"], "task": "qa", "labels": []}, 400, "unknown field 'labels'"),
        ("/predict", {"text": ["a"]}, 400, "unknown field 'text'. Did you mean 'texts'"),
        ("/predict", {"texts": ["a"], "task": "qa", "timeout": "1"}, 400, "\"timeout\" is '1'"),
        ("/predict", {"texts": ["a"], "task": "qa", "timeout": 0}, 400, "seconds above 0"),
        ("/predict", {"texts": ["a"] * (QUEUE + 1), "task": "qa"}, 400, "a request of 65 texts"),
        ("/predict", {"texts": ["a"], "task": "qa", "timeout": 1e-9}, 504, "no answer within"),
        ("/score", {"texts": ["a"], "task": "qa"}, 400, "no label words for the task 'qa': give"),
        ("/score", {"texts": ["a"], "task": "qa", "labels": []}, 400, '"labels" is empty'),
        ("/score", {"texts": ["a"], "task": "qa", "labels": [3]}, 400, "the label '3' is not a"),
        ("/score", {"texts": ["a"], "task": "qa", "labels": [LONG]}, 400, "of at most . are scor"),
        ("/predict", b" " * (MAX_BODY + 1), 413, "the body has more than 20,000 bytes"),
        ("/predict", None, 405, "/predict is asked by POST"),
        ("/health", b"{}", 405, "/health is asked by GET"),
        ("/predicts", b"{}", 404, "no '/predicts'. Did you mean '/predict'"),
    ],
)
def test_bad_input_is_refused_in_one_line(server, path, body, status, message):
    found, answer = server.ask(path, body)
    assert found == status and list(answer) == ["error"]
    assert re.search(message, answer["error"]) and "\n" not in answer["error"]


def test_a_large_body_is_refused_while_it_is_read(server):
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(MAX_BODY // 1000 + 1):  # there is no last one
            client.sendall(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413") and b"connection: close" in answer


def test_a_client_may_leave_at_any_time(server, t5):
    body = json.dumps({"texts": TEXTS, "tasks": MIXED}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    for sent in (head[:20], head, head + body[:9], head + body):
        with socket.create_connection(("127.0.0.1", server.port), SECONDS) as client:
            client.sendall(sent)
    assert server.predict(TEXTS, MIXED) == t5.predict(TEXTS, tasks=MIXED)


def test_more_than_the_queue_takes_is_refused_at_once(server, t5):
    expected = t5.predict(TEXTS * 16, tasks=MIXED * 16)
    begin = threading.Barrier(12)

    def client(_):
        begin.wait()
        return server.ask("/predict", {"texts": TEXTS * 16, "tasks": MIXED * 16})

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        found = list(pool.map(client, range(12)))
    assert {status for status, _ in found} == {200, 429}
    for status, answer in found:
        if status == 200:
            assert [row["prediction"] for row in answer["predictions"]] == expected
        else:
            assert "texts wait already: try again later" in answer["error"]


@pytest.fixture(name="asking")
def _asking(server, t5):
    """Clients that ask until the test ends, by when each of their answers was right."""
    expected, ended = t5.predict(TEXTS, tasks=MIXED), threading.Event()

    def client():
        count = 0
        while not ended.is_set():
            assert server.predict(TEXTS, MIXED) == expected
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client) for _ in range(4)]
        yield clients
        ended.set()
    assert all(client.result() > 1 for client in clients)


def replace(file, content):
    with open(f"{file}.new", "wb") as new:
        new.write(content)
    os.replace(f"{file}.new", file)


def test_a_bank_is_replaced_under_load_and_no_request_fails(server, asking, folder, file, tmp_path):
    bank, info = product_file.load(folder)
    grown = {n: np.concatenate([x, x[:1] * 2]) if n != "shared" else x for n, x in bank.items()}
    info = dataclasses.replace(info, tasks=(*info.tasks, "new"))
    other = product_file.save(str(tmp_path), grown, info)
    expected = mpt_jax.load(folder, other, batch_size=8).predict(TEXTS, "new")
    assert server.ask("/predict", {"texts": TEXTS, "task": "new"})[0] == 400
    with open(other, "rb") as new:
        replace(file, new.read())
    until(lambda: server.ask("/health")[1]["tasks"] == 4)
    assert server.predict(TEXTS, ["new"] * 4) == expected
    assert server.counted("bank_loads_total") == 1 and server.counted("bank_tasks") == 4
    assert "4 tasks from now on" in server.said("was replaced")


def test_a_damaged_or_foreign_bank_is_refused_under_load(server, asking, file, t5):
    with open(file, "rb") as stream:
        whole = stream.read()
    bank, info = product_file.load(file)
    foreign = product_file.save(
        os.path.dirname(file),
        bank,
        dataclasses.replace(info, backbone="0" * 16),
        "foreign.safetensors",
    )
    with open(foreign, "rb") as stream:
        of_another_backbone = stream.read()
    bad = {
        "truncated or corrupted": whole[:-100],
        "fingerprint 0000000000000000": of_another_backbone,
        "is truncated": b"not a prompt file",
    }
    for count, (reason, content) in enumerate(bad.items(), 1):
        replace(file, content)
        until(lambda reason=reason: reason in (server.ask("/health")[1]["refused"] or ""))
        assert server.counted("bank_refusals_total") == count
        assert server.predict(TEXTS, MIXED) == t5.predict(TEXTS, tasks=MIXED)
    os.remove(file)
    until(lambda: "no prompt file" in server.ask("/health")[1]["refused"])
    assert server.ask("/health")[1]["status"] == "old prompts"
    replace(file, whole)
    until(lambda: server.ask("/health")[1]["refused"] is None)
    refusals = [line for line in server.lines if "is refused, the old one goes on" in line]
    assert len(refusals) == 4 and not any("Traceback" in line for line in server.lines)


def test_sigterm_lets_what_is_in_flight_end(server, t5):
    """A request of which half has come by then is answered, and the status is 0."""
    body = json.dumps({"texts": TEXTS, "tasks": MIXED}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", len(body))
    connection.endheaders(body[:10])
    server.ask("/health")  # the half has come
    server.process.send_signal(signal.SIGTERM)

    def refused():
        try:
            return socket.create_connection(("127.0.0.1", server.port)).close()
        except ConnectionRefusedError:
            return True

    until(refused)
    connection.send(body[10:])
    answer = json.loads(connection.getresponse().read())
    expected = t5.predict(TEXTS, tasks=MIXED)
    assert [row["prediction"] for row in answer["predictions"]] == expected
    assert server.process.wait(SECONDS) == 0
    assert not any("Traceback" in line for line in server.lines)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--port=http"], "invalid whole number value: 'http'"),
        (["--port=70000"], "70000 is not from 0 to 65535"),
        (["--batch_size=0"], "0 is not at least 1"),
        (["--timeout=nan"], "nan is not at least 0.001"),
        (["--batchsize=3"], "unknown flag '--batchsize'. Did you mean '--batch_size'"),
        (["--host=999.1.2.3"], "cannot listen on 999.1.2.3:8000"),
    ],
)
def test_bad_flags(capsys, flags, message):
    assert cli.main(["serve", "prompts", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_port_that_is_taken_and_prompts_that_are_not_there(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert cli.main(["serve", "prompts", f"--port={taken.getsockname()[1]}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Address already in use. Choose another --port" in line
    assert cli.main(["serve", "nowhere", "--port=0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no prompt file at 'nowhere'" in line


def test_without_the_extra_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(command, "_NEEDED", ("uvicorn", "no_such_module"))
    assert cli.main(["serve", "prompts"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "t5x serve needs no_such_module: pip install 'mpt-jax[serve]'" in line

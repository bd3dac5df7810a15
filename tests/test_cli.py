"""The command line and the doctor."""

import os
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest
from tiny_course import make, publish
from typer.testing import CliRunner

import xferlab
from xferlab import cli, doctor
from xferlab.course import content

Disk = namedtuple("Disk", "total used free")
LABS = Path(__file__).parents[1] / "labs"
SOURCE = """
# %%
import os, sys
from pathlib import Path
from xferlab import lab
assert os.environ["TQDM_DISABLE"] == "1"
Path("cwd.txt").write_text(sys.executable)
x = 1
{extra}
# %% tags=["results"]
print("balanced accuracy", x / 2)

# %%
print("not a result")
"""


@pytest.fixture
def checkout(monkeypatch, tmp_path):
    """A checkout with one tiny lab, entered at its root."""
    publish(make(tmp_path, ""), SOURCE.format(extra=""))
    monkeypatch.setenv("PYTHONPATH", str(LABS.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli.app, list(arguments))


def test_labs_list_says_what_is_planned(checkout):
    done = run("labs", "list")
    assert done.exit_code == 0
    first, second = done.output.splitlines()
    assert first.startswith("77  A tiny lab")
    assert "planned" not in first
    assert "(planned)" in second


def test_the_course_manifest_is_whole():
    entries = content.course(LABS)["labs"]
    assert [entry["number"] for entry in entries] == [f"{n:02d}" for n in range(11)]
    for entry in entries:
        assert {"slug", "title", "minutes", "accelerator", "data", "objectives"} <= set(entry)
        assert entry["objectives"]
    sources = {path.stem for path in (LABS / "source").glob("*.py")}
    assert sources == {entry["name"] for entry in entries if entry["built"]}


def test_labs_run_writes_notebook_and_page_and_prints_results(checkout):
    pytest.importorskip("nbclient")
    done = run("labs", "run", "77")
    assert done.exit_code == 0, done.output
    assert "balanced accuracy 0.5" in done.output
    assert "not a result" not in done.output
    assert str(checkout / "runs" / "77_tiny.html") in done.output
    assert "balanced accuracy 0.5" in (checkout / "runs" / "77_tiny.html").read_text()
    assert (checkout / "runs" / "77_tiny.ipynb").is_file()
    # the kernel runs where the user is, so that relative data paths mean what they say, and in this Python
    assert (checkout / "cwd.txt").read_text() == sys.executable


def test_labs_run_stops_at_the_first_error_and_says_where(checkout):
    pytest.importorskip("nbclient")
    publish(checkout / "labs", SOURCE.format(extra="y = x / 0  # here"))
    done = run("labs", "run", "77", "--out", "elsewhere")
    assert done.exit_code == 1
    assert "y = x / 0  # here" in done.output
    assert "ZeroDivisionError: division by zero" in done.output
    assert "balanced accuracy" not in done.output
    assert "Traceback" not in done.output
    assert (checkout / "elsewhere" / "77_tiny.html").is_file()


def test_labs_run_gives_up_on_a_cell_that_takes_too_long(checkout):
    pytest.importorskip("nbclient")
    publish(checkout / "labs", SOURCE.format(extra="import time; time.sleep(60)"))
    done = run("labs", "run", "77", "--timeout", "8")
    assert done.exit_code == 1
    assert "longer than --timeout" in done.output


@pytest.mark.parametrize(
    "settings, limit",
    [({}, 900), ({"XFERLAB_PROFILE": "full"}, None), ({"XFERLAB_RECORD": "1"}, None), ({"XFERLAB_RECORD": "0"}, 900)],
)
def test_a_cell_that_trains_for_hours_may(checkout, monkeypatch, settings, limit):
    pytest.importorskip("nbclient")
    for name in ("XFERLAB_PROFILE", "XFERLAB_RECORD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    seen = []
    monkeypatch.setattr(
        "xferlab.course.notebooks.execute", lambda notebook, folder, timeout, on_cell: seen.append(timeout)
    )
    assert run("labs", "run", "77").exit_code == 0
    assert run("labs", "run", "77", "--timeout", "8").exit_code == 0
    assert seen == [limit, 8]


def test_planned_labs_do_not_run(checkout):
    done = run("labs", "run", "78")
    assert done.exit_code != 0
    assert "planned" in str(done.exception) + done.output


def test_without_any_course_the_error_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(content, "__file__", str(tmp_path / "a" / "b" / "c" / "content.py"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["xferlab", "labs", "list"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "installed without its labs" in capsys.readouterr().err


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """A machine on which nothing needs fixing."""
    monkeypatch.setattr(doctor, "version", lambda package: "9.0")
    monkeypatch.setattr(doctor, "memory", lambda: (16.0, 8.0))
    monkeypatch.setattr(doctor, "_weights", lambda fixes: [])
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Disk(0, 0, 50e9))
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path))


def test_doctor_on_a_healthy_machine(healthy):
    done = run("doctor")
    assert done.exit_code == 0
    assert "Nothing to fix." in done.output
    assert "digits/mnist" in done.output


def test_doctor_says_what_to_fix(healthy, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda package: None if package in ("ipywidgets", "mlxtend") else "9.0")
    monkeypatch.setattr(doctor, "memory", lambda: (2.0, 0.5))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Disk(0, 0, 1e9))
    done = run("doctor")
    assert done.exit_code == 1
    assert "ipywidgets, mlxtend are missing: pip install 'xferlab[labs]'" in done.output
    assert "0.5 GB of memory" in done.output
    assert "1.0 GB free for" in done.output
    assert "needs the package mlxtend" in done.output


def test_doctor_shows_the_cached_files_and_clears_them(healthy, tmp_path):
    """Fails where the size or the bound is not shown, and where clearing leaves a cached file or takes a run."""
    for folder in ("features", "runs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_bytes(bytes(60_000_000))
    assert "0.1 GB, at most 5 (XFERLAB_CACHE_GB)" in run("doctor", "--quick").output
    done = run("doctor", "--quick", "--clear-cache")
    assert "0.1 GB of cached files removed." in done.output and "0.0 GB, at most 5" in done.output
    assert (tmp_path / "runs" / "a").exists() and not (tmp_path / "features" / "a").exists()


def test_doctor_says_when_labs_and_package_differ(healthy, monkeypatch, tmp_path):
    """A folder filled by another version, which the learner opened a folder below."""
    (tmp_path / ".xferlab.json").write_text('{"version": "0.0.1", "files": {}}')
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path / "results")
    done = run("doctor", "--quick")
    assert done.exit_code == 1 and "came with xferlab 0.0.1, and this is" in done.output
    (tmp_path / ".xferlab.json").write_text(f'{{"version": "{xferlab.__version__}", "files": {{}}}}')
    assert run("doctor", "--quick").exit_code == 0


@pytest.mark.parametrize("command", [["--help"], ["labs", "list"], ["doctor", "--quick"]])
def test_light_commands_import_nothing_heavy(command, tmp_path):
    code = "import sys; from xferlab.cli import app\ntry: app()\nfinally: print('LOADED', *{'torch', 'timm', 'sklearn', 'numpy'} & set(sys.modules))"
    env = os.environ | {"PYTHONPATH": str(LABS.parent)}
    ran = subprocess.run([sys.executable, "-c", code, *command], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "LOADED", ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def test_running_a_lab_loads_torch_in_its_kernel_alone(tmp_path):
    """Else the command holds half a gigabyte beside the kernel, on machines that have two."""
    pytest.importorskip("nbclient")
    code = (
        "import sys, pathlib; from xferlab.course import commands, notebooks; notebooks.execute = lambda *_, **__: None\n"
        "commands.run('00', pathlib.Path('out')); print('LOADED', *{'torch', 'pandas', 'sklearn'} & set(sys.modules))"
    )
    env = os.environ | {"PYTHONPATH": str(LABS.parent)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout.splitlines()[-1] == "LOADED", ran.stdout + ran.stderr


def test_doctor_checks_the_weights_for_real():
    fixes = []
    rows = doctor._weights(fixes)
    assert fixes == []
    assert "checksum right" in rows[0][1]


def test_doctor_reports_damaged_weights(monkeypatch):
    from xferlab.encoders import images
    from xferlab.errors import ChecksumError

    def damaged():
        raise ChecksumError("the file is damaged")

    monkeypatch.setattr(images, "packaged_weights", damaged)
    fixes = []
    assert "damaged" in doctor._weights(fixes)[0][1]
    assert fixes == ["the file is damaged"]


def test_the_report_hides_the_home_folder(healthy, monkeypatch):
    monkeypatch.setenv("XFERLAB_DATA", str(Path.home() / "somewhere"))
    text, _ = doctor.report()
    assert str(Path.home()) not in text.replace(sys.prefix, "")
    assert "~/somewhere" in text


def test_network_test_does_not_hang(monkeypatch):
    over = threading.Event()

    def hang(host, timeout):
        over.wait(60)
        raise TimeoutError

    monkeypatch.setattr(doctor.socket, "create_connection", hang)
    assert doctor.reaches(seconds=0.05) is False
    over.set()  # the thread ends with the test


def test_a_host_that_refuses_is_not_waited_for(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionRefusedError

    monkeypatch.setattr(doctor.socket, "create_connection", refuse)
    asked = threading.Thread(target=doctor.reaches, kwargs={"seconds": 3600}, daemon=True)
    asked.start()
    asked.join(60)
    assert not asked.is_alive()


@pytest.mark.parametrize(("variable", "name"), [("COLAB_RELEASE_TAG", "Colab"), ("BINDER_SERVICE_HOST", "Binder")])
def test_place(monkeypatch, variable, name):
    monkeypatch.setenv(variable, "x")
    assert doctor.place() == name

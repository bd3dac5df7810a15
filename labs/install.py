"""Installs the course from this folder into `.venv` beside it, without a network:  python install.py"""

import json
import pathlib
import platform
import shutil
import site
import subprocess
import sys
import venv

course = pathlib.Path(__file__).resolve().parent
about = json.loads((course / "about.json").read_text("utf-8"))
machine = [*platform.python_version_tuple()[:2], platform.system(), platform.machine()]
if machine != about["machine"]:
    print("These wheels are for Python", ".".join(about["machine"][:2]), "on", *about["machine"][2:])
    sys.exit("This is Python " + ".".join(machine[:2]) + " on " + " ".join(machine[2:]) + ".")
target = course / ".venv"
venv.create(target, with_pip=True)
scripts = target / ("Scripts" if sys.platform == "win32" else "bin")
python = str(next(path for path in (scripts / "python.exe", scripts / "python") if path.exists()))
pip = [python, "-m", "pip", "install", "--no-index", "--no-deps", "--find-links", str(course / "wheels")]
subprocess.run([*pip, "--requirement", str(course / "requirements.txt")], check=True)
if about["without"]:  # these are installed for this Python already: from now on the new environment looks there too
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    pathlib.Path(where, "classroom.pth").write_text("\n".join(site.getsitepackages()) + "\n", "utf-8")
    print("Taken from this Python:", ", ".join(about["without"]))
cache = pathlib.Path(
    subprocess.run(
        [python, "-c", "from xferlab.storage import cache_folder; print(cache_folder())"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
)
for file in sorted((course / "cache").rglob("*")):
    to = cache / file.relative_to(course / "cache")
    if file.is_file() and not to.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)
print("Installed. This machine:")
subprocess.run([str(scripts / "xferlab"), "doctor"], cwd=course)
print("Start with:", scripts / "jupyter", "lab", course / "labs" / "00_start_here.ipynb")

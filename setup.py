"""Puts the course into the wheel as `xferlab/course/labs`; everything else about the package is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

LABS = Path(__file__).parent / "labs"
# what a learner gets: no sources, no solutions, nothing of the teacher's
MATERIAL = ("course.toml", "*.ipynb", "*.md", "answers/*.txt", "results/*.json")


class WithLabs(build_py):
    """Copies the material after the modules; an editable install reads the checkout's own folder."""

    def run(self):
        super().run()
        for pattern in () if self.editable_mode else MATERIAL:
            for file in sorted(LABS.glob(pattern)):
                to = Path(self.build_lib, "xferlab", "course", "labs", file.relative_to(LABS))
                self.mkpath(str(to.parent))
                self.copy_file(str(file), str(to))


setup(cmdclass={"build_py": WithLabs})

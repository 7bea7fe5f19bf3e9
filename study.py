"""Run the study: gender, age in 8 and in 101 classes, each by four protocols, and its report.

python study.py
python study.py --only age8,d
python study.py --only gender,c --data_dir data/sample -o seeds=[0] -o trainer.epochs=2
"""

from functools import partial

from studies.command import main
from utils.cli import run

if __name__ == "__main__":
    run(partial(main, __doc__))

"""Record the camera path that ships with the package: python scripts/record_camera_path.py FILE.

Writes an ML-Logger metrics file of 48 records, each with a `matrix` of 16 floats, column-major: a
camera that flies past the row of boxes of runner/campaigns/camera_path.py and looks at its middle.
"""

import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("ML_LOGGER_USER", "runner")
from ml_logger import ML_Logger


def looking_at(eye, target):
    """The pose of a camera at eye that looks at target with y up: 16 floats, column-major."""
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :4] = np.stack([right, np.cross(back, right), back, eye], axis=1)
    return [round(float(number), 6) for number in pose.T.ravel()]


def main(file):
    path = Path(file).absolute()
    path.unlink(missing_ok=True)
    logger = ML_Logger(root=str(path.parent), prefix="")
    for step, t in enumerate(np.linspace(0.0, 1.0, 48)):
        eye = np.array([-5.0 + 10.0 * t, 1.0 + 1.5 * np.sin(np.pi * t), 5.0 - 1.5 * np.sin(np.pi * t)])
        matrix = looking_at(eye, np.array([0.0, 0.4, -0.5]))
        logger.log(step=step, matrix=matrix, file=path.name, flush=True, silent=True)


if __name__ == "__main__":
    main(sys.argv[1])

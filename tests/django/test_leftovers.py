"""Nothing stays behind in the temporary directory."""

import os
import subprocess
import sys


def test_a_process_that_is_killed_leaves_no_folder(tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TMPDIR": str(tmp_path),
    }
    killed = "import os, shop.settings; os.kill(os.getpid(), 9)"
    process = subprocess.run([sys.executable, "-c", killed], env=environment, check=False)
    assert process.returncode == -9
    assert list(tmp_path.iterdir()) == []

"""Helm, killed at the moment when a release gets the status that is written in the file CUT_AT; that file goes then.

Without the file it is Helm. CUT_HELM is Helm's own program.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from kubernetes import client, config, watch


def main() -> None:
    """Run Helm with the same arguments; exit as it does."""
    command, at = [os.environ["CUT_HELM"], *sys.argv[1:]], Path(os.environ["CUT_AT"])
    if not at.exists():
        os.execv(command[0], command)
    namespace = command[command.index("--namespace") + 1]
    config.load_config(config_file=os.environ["KUBECONFIG"])
    secrets = client.CoreV1Api()
    known = secrets.list_namespaced_secret(namespace).metadata.resource_version
    helm = subprocess.Popen(command)

    def kill() -> None:
        labels = f"owner=helm,status={at.read_text()}"
        changes = watch.Watch().stream(
            secrets.list_namespaced_secret, namespace, label_selector=labels, resource_version=known
        )
        next(changes)
        helm.send_signal(signal.SIGKILL)
        at.unlink()

    threading.Thread(target=kill, daemon=True).start()
    sys.exit(helm.wait() % 256)


if __name__ == "__main__":
    main()

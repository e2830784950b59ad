"""JupyterHub for the tests: any name may log in, servers are processes beside the hub."""

import os
import sys
from pathlib import Path

c = get_config()  # type: ignore[name-defined]  # noqa: F821
home = Path(os.environ["RTCLAB_HUB_HOME"])

c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:8081"
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cookie_secret_file = str(home / "cookie_secret")
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True

c.ConfigurableHTTPProxy.command = [os.environ["RTCLAB_HUB_NODE"], os.environ["RTCLAB_HUB_PROXY"]]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:8082"
c.ConfigurableHTTPProxy.pid_file = str(home / "proxy.pid")

c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(home / "{username}")
c.Spawner.start_timeout = c.Spawner.http_timeout = 120  # a busy machine takes its time
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root", f"--ServerApp.root_dir={home / 'notebooks'}"]
c.Spawner.env_keep = ["PATH", "PYTHONPATH", "VIRTUAL_ENV", "JUPYTER_CONFIG_PATH"]
c.Spawner.environment = {"HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config")}

# the tests themselves may ask what runs, and end kernels
c.JupyterHub.services = [{"name": "tests", "api_token": os.environ["RTCLAB_HUB_TOKEN"]}]
c.JupyterHub.load_roles = [
    {"name": "tests", "services": ["tests"], "scopes": ["access:servers", "read:users:activity", "servers"]}
]

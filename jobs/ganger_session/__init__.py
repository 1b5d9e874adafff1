"""What runs in the pod of a DevSession: JupyterLab and sshd, looked after, and ended when nobody uses them.

The standard library and `ganger.contract` alone are imported here; JupyterLab loads `jupyter_server_config` by itself.
"""

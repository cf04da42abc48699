class Stopped(RuntimeError): pass
class TimedOut(RuntimeError): pass
def warm_up(*a): pass
def close_kernels(): pass
def run_notebook(notebook, output, parameters, *, engine="warm", timeout=None, stop=None, env={}, cwd=None, seed=None, log_output=False):
    import os, papermill as pm
    os.environ.update(env)
    pm.execute_notebook(str(notebook), str(output), parameters, cwd=str(cwd), progress_bar=False, execution_timeout=timeout)

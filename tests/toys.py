from batch_helpers import *  # noqa: F403  TEMP(rename)

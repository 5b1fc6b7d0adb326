"""What every part of a worker leans on: the log, the current call, failures and refusals told to the client."""

"""What holds for a storage unless an option says otherwise, in a module that imports nothing."""

EMBEDDED = "sqlite:///.hpo/studies.db"
GRACE = 60  # seconds without a heartbeat after which a running trial counts as lost
PATIENCE = 600  # seconds that a worker waits for a server that is away or busy
PROMPT = 10  # seconds that a command which shows something waits for it

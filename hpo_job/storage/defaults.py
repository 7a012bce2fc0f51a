"""What holds for a storage unless an option says otherwise, in a module that imports nothing."""

EMBEDDED = "sqlite:///.hpo/studies.db"
GRACE = 60  # seconds without a heartbeat after which a running trial counts as lost
PATIENCE = 600  # seconds that a worker waits for a server that is away or busy
CONNECT_TIMEOUT = 10  # seconds that a driver waits for a server to answer its log-in
# Seconds that a command which shows something waits for a server: longer than one attempt to
# connect, so that there is a second attempt.
PROMPT = 2.5 * CONNECT_TIMEOUT
IDLE = 0.5  # seconds without a statement after which a worker gives its connection back
# A reader keeps it longer: to connect again over a slow network takes many round trips. Shorter
# than the 30 s after which the server ends a connection without statements.
READER_IDLE = 20.0
# Seconds for which a reader answers from what it read last: a report asks for the same trials a
# hundred times. Shorter than the interval of a view that is watched.
READER_FRESH = 1.5

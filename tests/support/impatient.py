"""A daemon that waits less: put IMPATIENT before the processors of a file, and its process does not wait as long.

For stories of deadlines that nobody can set and that are long in reality: what happens then is the story, not how
long it takes. Nothing here makes anything succeed that would not succeed later.
"""

IMPATIENT = """
import actiond.batch.call, actiond.batch.crew, actiond.batch.write_back
import actiond.postgres.connection, actiond.postgres.presence, actiond.service.drain

for module in (actiond.batch.call, actiond.batch.crew, actiond.service.drain):
    module.GRACE_S = 0.5
actiond.batch.write_back.ASIDE_S = 1.0
actiond.service.drain.SAVE_S = 1.0
actiond.postgres.connection.COMMAND_S = 1.5
actiond.postgres.presence.BEAT_S = 0.25
actiond.postgres.presence.BEAT_TIMEOUT_S = 1.5
actiond.postgres.presence.SILENCE_S = 1.0
"""

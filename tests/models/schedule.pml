/* One slot, one fire: sql/due_schedules.sql, sql/fire_schedule.sql, sql/functions/075_schedule_changed.sql.
 *
 * One schedule, two daemons that look, compute and fire, each of which may die at any point; a person who edits the
 * schedule or switches it off while a slot is due. Between the look and the statement that fires anything may happen.
 * Slots are numbered; the row holds the number of the next one. The statement is atomic (one transaction).
 *
 * Promises: no slot fires twice; none is lost (passed over without firing while it was to fire); nothing fires once it
 * is off, nor as it was before an edit; the row is never held while a daemon computes, so a dead one holds up nobody.
 */
#define SLOTS 3

byte next = 0;             /* next_at */
byte edition = 0;
bool on = true;
bool held = false;         /* a row lock that outlives its statement */
byte fired[4];
byte edits = 0;

active [2] proctype daemon() {
  byte seen, as;
end:
  do
#ifdef BUG_HELD_WHILE_COMPUTING
  :: atomic { next < SLOTS && on && !held -> held = true; seen = next; as = edition }
#else
  :: atomic { next < SLOTS && on -> seen = next; as = edition }    /* the look; the slot is due */
#endif
     /* computing: cron, templates; the process may die here */
     if
     :: break
     :: true
     fi;
#if defined(BUG_NO_COMPARE)
     atomic { fired[seen]++; assert(fired[seen] <= 1); next = seen + 1 }
#elif defined(BUG_INSERT_THEN_ADVANCE)
     atomic { if :: next == seen && edition == as && on -> fired[seen]++; assert(fired[seen] <= 1)
              :: else -> seen = SLOTS fi };
     if :: break :: true fi;                                /* dies between the two */
     atomic { if :: next == seen -> next = seen + 1 :: else fi }
#elif defined(BUG_ADVANCE_THEN_INSERT)
     atomic { if :: next == seen && edition == as && on -> next = seen + 1 :: else -> seen = SLOTS fi };
     if :: break :: true fi;
     atomic { if :: seen < SLOTS -> fired[seen]++ :: else fi }
#elif defined(BUG_NO_EDITION)
     atomic { if :: next == seen && on -> assert(edition == as); fired[seen]++; assert(fired[seen] <= 1); next = seen + 1
              :: else fi }
#elif defined(BUG_SWITCH_NOT_READ)
     atomic { if :: next == seen && edition == as -> assert(on); fired[seen]++; next = seen + 1 :: else fi }
#else
     atomic { if :: next == seen && edition == as && on ->
                   fired[seen]++; assert(fired[seen] <= 1); next = seen + 1
              :: else fi;
              held = false }
#endif
  od
}

active proctype person() {
  do
  :: atomic { edits < 2 -> edits++; edition++ }             /* another text, another payload */
  :: atomic { edits < 2 -> edits++; on = !on
#ifndef BUG_SWITCH_NOT_READ
       ; edition++
#endif
     }
  :: break
  od
}

/* When everybody is done or dead, a daemon that starts now finds every slot below `next` fired, and nobody in its way. */
active proctype afterwards() {
  byte slot = 0;
  timeout ->
  assert(!held);
  do
  :: slot < next -> assert(fired[slot] == 1); slot++     /* none passed over, none twice */
  :: else -> break
  od
}

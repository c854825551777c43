/* Claim, fence, rescue, cancel and hold: sql/step.sql, sql/rescue.sql, sql/functions/050_changed_by_hand.sql.
 *
 * One row, two daemons with two calls each (a daemon may claim a row again while an older call of it still
 * runs), a rescuer who may take the row from anybody at any time (a daemon died, froze, was cut off), a person
 * who holds, releases and cancels at any time. No call ever knows that it was overtaken.
 *
 * Promises: a row ends once; only the run that holds the claim decides; what a person did after the claim is
 * never undone by it.
 */
#define NOBODY 0
mtype = { pending, held, completed, canceled };

mtype status = pending;
byte claimed_by = NOBODY;
byte run_id = 0;          /* the fence */
byte runs = 0;            /* drawn so far */
byte finals = 0;
byte said = 0;            /* how often a person changed the status */

#define MAX_RUNS 6        /* enough for every overtaking; more only repeats */
#define MAX_SAID 3

inline fresh_fence() { runs++; run_id = runs }

active [4] proctype call() {
  byte me = 1 + _pid / 2;   /* daemons 1 and 2, two calls each */
  byte mine, heard;
  do
  :: atomic { status == pending && claimed_by == NOBODY && runs < MAX_RUNS ->
       claimed_by = me; fresh_fence(); mine = run_id; heard = said }
     /* the handler runs here, for as long as it likes */
     atomic {
       if
#if defined(BUG_NO_FENCE)
       :: true ->
#elif defined(BUG_STATUS_ONLY)
       :: status == pending ->
#elif defined(BUG_NO_RUN_ID)
       :: status == pending && claimed_by == me ->
#else
       :: status == pending && claimed_by == me && run_id == mine ->
#endif
            assert(run_id == mine);          /* decided under the claim that is current */
            assert(heard == said);           /* nothing a person said since is undone */
            status = completed; claimed_by = NOBODY; finals++;
            assert(finals == 1)
       :: else -> skip                       /* fenced */
       fi;
       mine = 0; heard = 0 }
  :: break
  od
}

active proctype rescuer() {
  do
  :: atomic { status == pending && claimed_by != NOBODY && runs < MAX_RUNS ->
       claimed_by = NOBODY; fresh_fence() }
  :: break
  od
}

active proctype person() {
  do
  :: atomic { status == pending && said < MAX_SAID && runs < MAX_RUNS -> status = held; said++;
#ifndef BUG_HOLD_KEEPS_CLAIM
       claimed_by = NOBODY; fresh_fence()
#endif
     }
  :: atomic { status == held && said < MAX_SAID && runs < MAX_RUNS -> status = pending; said++;
#ifndef BUG_HOLD_KEEPS_CLAIM
       claimed_by = NOBODY; fresh_fence()
#endif
     }
  :: atomic { status == pending && said < MAX_SAID && runs < MAX_RUNS -> status = canceled; said++; finals++;
       claimed_by = NOBODY; fresh_fence();
       assert(finals == 1) }
  :: break
  od
}

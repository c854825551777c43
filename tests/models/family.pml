/* A parent waits for its children: sql/step.sql writes outcomes, sql/release.sql looks afterwards who may go on.
 *
 * Three children end at any time, each by a daemon of its own, beside the daemon that writes down that the parent
 * waits. A daemon may die between the commit of an outcome and the release. A transaction sees what was committed
 * when it took its snapshot, and nothing of the others that commit beside it.
 *
 * Promises: the parent runs again once, and not before all children have ended; as long as nobody dies it needs no
 * sweep for that, and if somebody does, the sweep finds it.
 */
#define CHILDREN 3
#define ALL_ENDED (ended[0] && ended[1] && ended[2])

bool ended[CHILDREN];      /* committed */
bool waiting = false;      /* held, waits for its children: committed */
byte second_runs = 0;
byte gone_home = 0;        /* daemons that are through with their part, or dead */
bool died = false;

inline let_go() {
  waiting = false; second_runs++;
  assert(ALL_ENDED);
  assert(second_runs == 1)
}

/* One statement: its snapshot, then the row, locked and looked at again. */
inline release() {
  atomic { over = waiting && ALL_ENDED }
  atomic {
    if
#ifdef BUG_NO_SECOND_LOOK
    :: over -> let_go()
#else
    :: over && waiting -> let_go()
#endif
    :: else -> skip
    fi; over = false }
}

active [CHILDREN] proctype child() {
  bool over = false;
#ifdef BUG_IN_THE_SAME_TRANSACTION
  atomic { over = waiting && (ended[0] || _pid == 0) && (ended[1] || _pid == 1) && (ended[2] || _pid == 2) }
  atomic { ended[_pid] = true; if :: over && waiting -> let_go() :: else -> skip fi; over = false }
#else
  ended[_pid] = true;
  if
  :: release()
  :: died = true              /* or a person ended it by hand, or a rescue */
  fi;
#endif
  gone_home++
}

active proctype parent() {
  bool over = false;
  waiting = true;
#ifndef BUG_NO_LOOK_OF_ITS_OWN
  if
  :: release()
  :: died = true
  fi;
#endif
  gone_home++
}

active proctype sweep() {
  bool over = false;
  gone_home == CHILDREN + 1;
#ifndef BUG_NO_SWEEP
  if :: died -> release() :: else -> skip fi;
#endif
  assert(second_runs == 1)
}

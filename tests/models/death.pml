/* Who is dead: sql/beat.sql. One daemon that lives and beats, whose session may be lost, a server that may be away;
 * a peer that watches. Time goes by in beats of one second; silence is three of them here.
 *
 * Promise: a daemon that beats whenever the server answers is never declared dead, however sessions drop and
 * servers restart. And a daemon that died is declared dead in the end.
 */
#define SILENCE 3
#define RECONNECT 1            /* beats until a living daemon is back on a server that answers */
bool alive = true, locked = true, declared = false, up = true;
byte unseen = 0;               /* beats since it was last seen */
byte watching = 0;             /* beats since the peer's own session began */
byte away = 0;                 /* beats until the daemon is connected again */
byte trouble = 0;

active proctype clock() {
end:
  do
  :: declared -> break
  :: atomic { !declared && up ->        /* one beat with the server up */
       if :: watching < SILENCE -> watching++ :: else fi;
       if
       :: alive && away == 0 -> unseen = 0; locked = true
       :: alive && away > 0 -> away--; if :: unseen < SILENCE -> unseen++ :: else fi
       :: !alive -> locked = false; if :: unseen < SILENCE -> unseen++ :: else fi
       fi;
       /* the peer beats, too, and looks */
       if
#if defined(BUG_LOCK_ALONE)
       :: !locked && watching >= SILENCE -> declared = true
#elif defined(BUG_NO_WATCHING)
       :: !locked && unseen >= SILENCE -> declared = true
#else
       :: !locked && unseen >= SILENCE && watching >= SILENCE -> declared = true
#endif
       :: else
       fi;
       assert(!(declared && alive)) }
  :: atomic { !declared && trouble < 2 && alive && up -> trouble++; locked = false; away = RECONNECT }  /* its session drops */
  :: atomic { !declared && trouble < 2 && up -> trouble++; up = false }                               /* the server goes */
  :: atomic { !declared && !up ->                                                                    /* and comes back later */
       up = true; locked = false; unseen = SILENCE; watching = 0; if :: alive -> away = RECONNECT :: else fi }
  :: atomic { !declared && alive && up -> alive = false }
  od
}

ltl found_out { [] (!alive -> <> (declared || !up)) }

/* The doorbell: sql/functions/030_ring.sql, loops/processor_loop.py, postgres/presence.py.
 *
 * Two daemons, three inserters whose commits come as late as they like, notifications that arrive as late as
 * they like, one daemon that may get a batch that never ends, one session that may be lost. There is no safety
 * poll here, so a lost wake-up is a row that stays for ever: at the end of all things, when nobody can move,
 * every committed row must have been claimed.
 */
#define NOBODY 9
#define D 2
#define R 3
#define none 0
#define committed 2
#define claimed 3

byte row[R];
byte under_way = 0;            /* inserters that hold the bell's lock shared */
byte bell = NOBODY;            /* who holds it exclusively */
byte sentinel = NOBODY;
bool pend[D];                  /* a notification is on its way */
bool latch[D];                 /* it has arrived: look again */
bool endless = false;          /* somebody got the batch that never ends */
bool lost = false;             /* a session was lost already */

active [R] proctype inserter() {
  byte i = _pid; bool ring; byte d;
  atomic { if :: bell == NOBODY -> under_way++; ring = false :: else -> ring = true fi }
  row[i] = committed;          /* visible first, then the lock goes and the notification is sent */
  atomic {
    if
    :: ring -> d = 0; do :: d < D -> pend[d] = true; d++ :: else -> break od
    :: else -> under_way--
    fi }
}

active [D] proctype deliver() {
  byte d = _pid - R;
end: do :: atomic { pend[d] -> pend[d] = false; latch[d] = true } od
}

active [D] proctype daemon() {
  byte d = _pid - R - D; byte other = 1 - d; byte i; bool held; bool thinks; bool found;
start:
  latch[d] = true;             /* LISTEN first, then look */
end:
  do
  :: latch[d] ->
look:
#ifndef BUG_LATCH_CLEARED_AFTER_SCAN
     latch[d] = false;
#endif
     held = thinks;
     atomic {                  /* one claim */
       found = false; i = 0;
       do
       :: i < R && row[i] == committed -> row[i] = claimed; found = true; break
       :: i < R && row[i] != committed -> i++
       :: i >= R -> break
       od; i = 0 }
#ifdef BUG_LATCH_CLEARED_AFTER_SCAN
     latch[d] = false;
#endif
     if
     :: found ->
          if
          :: sentinel == d ->
               atomic { if :: bell == d -> bell = NOBODY :: else fi; sentinel = NOBODY; thinks = false
#ifndef BUG_NO_RING_ON_LEAVING
                 ; pend[other] = true
#endif
               }
          :: else
          fi;
          if
          :: goto look         /* it ended */
          :: atomic { !endless -> endless = true } -> goto stuck
          fi
     :: !found && held -> skip /* asleep, with the bell in hand */
     :: !found && !held ->
          atomic { if :: sentinel == NOBODY -> sentinel = d :: else fi };
          if
          :: sentinel == d ->
               atomic {
                 if
#ifdef BUG_TAKES_BELL_FROM_INSERTERS
                 :: bell == NOBODY -> bell = d; thinks = true
#else
                 :: bell == NOBODY && under_way == 0 -> bell = d; thinks = true
#endif
                 :: else
                 fi };
#ifdef BUG_NO_CLOSING_LOOK
               if :: bell == d -> skip :: else -> goto look fi
#else
               goto look       /* once more with the bell, or try again */
#endif
          :: else -> skip      /* a peer has it: it rings when it leaves */
          fi
     fi
  :: atomic { !lost -> lost = true;                      /* the session is gone, its locks with it */
       if :: bell == d -> bell = NOBODY :: else fi;
#ifndef BUG_LOCKS_REMEMBERED
       thinks = false;
#endif
       if :: sentinel == d -> sentinel = NOBODY :: else fi;
       pend[d] = false; latch[d] = false }
#ifndef BUG_RELISTEN_WITHOUT_LOOK
     ; latch[d] = true
#endif
#ifndef BUG_NO_RING_ON_RECONNECT
     ; pend[other] = true
#endif
  od;
stuck:                          /* a batch without end: its locks are gone, it will never look again */
end2: false
}

active proctype judge() {
end3: timeout ->
  assert(row[0] == claimed && row[1] == claimed && row[2] == claimed)
}

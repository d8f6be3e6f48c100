/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ordering: one vCPU, two CPUs with an agent each, and everything that the two sides and the
 * host's parts tell each other: page words, grant, doorbell, ticket and ack, the desired word,
 * hints, the watch lists, the second line, detach. spec/model/run checks it exhaustively.
 *
 * `step: NAME` marks what a place of the code does that says `model: NAME`; tests/spec/model.py
 * compares. One statement is one access to something shared; what lies between is in an atomic; a few
 * reads that follow each other are one.
 *
 * Store buffers: the guest's stores, and grant, become visible at any later time; a full barrier
 * waits for that, a context switch does as well. Everything else is an x86 store under a lock, or a
 * locked instruction.
 *
 * Time has no length: an expiry may come at any moment after its decision (EXPIRY), or never,
 * which is how a lost doorbell shows although every boost ends by itself.
 *
 * Left out: budgets (core/account.h, tested exactly), payback, next_event, several reasons of one
 * kind, what is taken back for the host's real-time work (a swap and a hint as of any decision), a
 * holder of the lock that is only late, and goes on beside who did not wait for it. Of other vCPUs there
 * is only that agents work for them (OTHERS).
 *
 * Built with, each 0 or 1: EXPIRY, LOSS (any ring entry may be lost), SILENT (the guest may not
 * ring), TICKET (a device interrupt), DETACH, REMOVE (after DETACH: nobody looks after the thread any
 * more), REREGISTER (after DETACH: the guest comes back with a new page, of the next epoch), HANG (the
 * agents stop for good at any moment; the guardian does not), HOLDER (with HANG: also one that holds the
 * slot's lock, whose waiters give up); and how many: CPUS (one is enough for some, of which two are
 * too many to search), SECTIONS (critical ones), PREEMPTIONS (a rival takes the CPU), OTHERS (an agent
 * takes a CPU for another vCPU); and the broken variants MUTANT_*, each of which must be found.
 */
#ifndef SECTIONS
#define SECTIONS 2
#endif
#ifndef PREEMPTIONS
#define PREEMPTIONS 2
#endif

#ifndef OTHERS
#define OTHERS 0
#endif
#ifndef BOOSTS
#define BOOSTS 2
#endif

#define NONE 2 /* no agent, no CPU */

/* ---- the page ---- */
byte context;	   /* generation << 1 | critical */
byte ack, ticket;  /* numbers of interrupts */
bit  grant;	   /* BOOSTED */
bit  bell;	   /* the doorbell's eventfd is readable */

/* store buffers of one entry: an entry must drain before the next store */
bit  context_buffered, ack_buffered, grant_buffered;
byte context_value, ack_value;
bit  grant_value;

/* ---- the programs' state ---- */
byte desired;	   /* seq << 1 | boosted */
byte expired;	   /* bit per seq: its expiry is past */
byte gen, seen_ack; /* of the page's words that desired answers: shared.gen, shared.ack */
byte v_ticket;
bit  intr;	   /* an interrupt is pending that no ack has answered */
bit  page_on = 1;  /* the programs may read the page */
bit  mapped = 1;   /* the page is there for programs and actuator */
byte v_cpu;	   /* where it runs, or ran last */
bit  off;	   /* it does not run */
bit  switching;	   /* it is being switched out */
byte inside;	   /* programs that run: bit per process */
bit  armed;	   /* bpf_timer: the second line */

/* ---- the actuator's ---- */
bit  locked;
bit  boosted;	   /* what the thread really is */
#if HOLDER
bit  applied;	   /* what the actuator says that it is */
#else
#define applied boosted
#endif
bit  has_page = 1; /* slot.page */
bit  used = 1;	   /* slot.used: somebody looks after the thread */
byte owner = NONE; /* agent that watches it */
byte ring[3];	   /* entries: agents 0 and 1, guardian */
byte bell_at = NONE; /* agent that listens to the doorbell ... */
bit  listening;	   /* ... and hears the next ring */
byte heard;	   /* the boost after which the page was looked at last, listening */

bit  watched[2];   /* an agent's list: one slot here */
byte watch_word[2];
byte at_cpu[2];	   /* 0 nobody, 1 the vCPU, 2 the agent */
bit  other[2];	   /* another vCPU's hint in the ring */
bit  hung;
bit  again = 1;	   /* an agent asks once more, with nothing in force */

/* ---- the world ---- */
byte sections_left = SECTIONS;
byte preemptions_left = PREEMPTIONS;
byte boosts_left = BOOSTS;
bit  interrupt;	   /* raised, not taken */
byte number;	   /* the guest's generation */

/* ---- what nobody knows, to judge by ---- */
bit  epoch;	   /* of the page that there is */
bit  desired_of;   /* the epoch whose words a boost was desired from */

#define SEQ(w)	   ((w) >> 1)
#define LEVEL(w)   ((w) & 1)
#define PAST(w)	   ((expired >> SEQ(w)) & 1)
#define ACTIVE(w)  (LEVEL(w) && !PAST(w))
#define NEXT(w)	   (((SEQ(w) + 1) & (SEQS - 1)) << 1) /* nothing desired */
#define GEN(w)	   ((w) >> 1)
#define CRITICAL(w) ((w) & 1)
#define RUNS	   (!off && !switching)
#define BIT(n)	   (1 << (n))
#if REREGISTER
#define SEQS	   8
#else
#define SEQS	   4 /* more than there are words in flight */
#endif
#define WATCHED_BITS (BIT(SEQ(watch_word[0])) | BIT(SEQ(watch_word[1])))

#define GUARDIAN 2 /* ids: the agents are 0 and 1 */
#define SCHED	 3
#define DEVICE	 4
#define SWITCH(c) (5 + (c)) /* sched_switch to an agent: no agent's own program */
#define PROGRAMS 7

inline hint(to) {
	if
	:: ring[to] < 2 -> ring[to]++ /* step: decide.hint */
#if LOSS
	:: skip
#endif
	:: ring[to] == 2 -> skip /* full: counted, lost */
	fi
}

#define DECIDE_LOCALS bit was_active, raced, changed, readable, fresh, want, may, of_page; byte page_gen, page_ack, was

/*
 * pvsched_decide(). id: whose context; is_intr: INTR_PENDING; quiet: by the agent that is about to
 * look, which needs no hint. Two may run at a time for one vCPU: a switch, a timer, an interrupt and
 * an agent's question are on CPUs of their own.
 */
inline decide(id, is_intr, quiet) {
	atomic {
#if DETACH
		inside = inside | BIT(id);
#endif
		raced = 0; changed = 0; fresh = 0; page_gen = 0; page_ack = 0; want = 0;
		readable = page_on;
		was = desired; /* step: decide.word */
		was_active = ACTIVE(was); /* by the time of the event */
		may = off || was_active; /* one that runs keeps a boost, and gets none */
		if
		:: is_intr && !intr -> intr = 1; fresh = 1
		:: else
		fi
	}
	if
	:: readable ->
		atomic { assert(mapped || (DETACH && id < 2)); /* step: decide.page */
			want = CRITICAL(context); page_gen = GEN(context); of_page = epoch }
#if TICKET
		atomic { page_ack = ack; /* step: decide.ack */
			if
			:: ack == v_ticket && !fresh -> intr = 0
			:: else
			fi;
			want = want | intr }
#endif
	:: else
	fi;
	want = want && may;
#if EXPIRY
	want = want && (was_active || boosts_left); /* the budget ends it at some time */
#endif
#if TICKET
	if
	:: fresh && want -> v_ticket++; /* step: decide.ticket */
		atomic { assert(!readable || mapped); ticket = (readable -> v_ticket : ticket) }
	:: else -> fresh = 0
	fi;
#endif
	if
	:: !was_active && !want
	:: was_active && want && !fresh /* in force: it never prolongs itself */
	:: (was_active != want) || fresh ->
		atomic { if
			:: desired == was -> /* step: decide.swap */
				changed = (was_active != want);
#if EXPIRY
				boosts_left = boosts_left - (want && !was_active);
#endif
				desired = NEXT(was) | want;
				desired_of = (want -> of_page : desired_of);
				expired = expired & WATCHED_BITS & ~BIT(SEQ(desired))
			:: else -> raced = 1
			fi }
		if
		:: !raced -> atomic { gen = page_gen; seen_ack = page_ack } /* step: decide.generation */
		:: else
		fi;
#if HANG
#ifndef MUTANT_NO_SECOND_LINE
		armed = armed | (want && !raced); /* step: decide.arm */
#endif
#endif
		if
		:: changed && !(quiet) -> hint(v_cpu)
		:: else
		fi
	fi;
#if DETACH
	inside = inside & ~BIT(id);
#endif
	atomic { was = 0; was_active = 0; page_gen = 0; page_ack = 0; may = 0; want = 0; of_page = 0 }
}

/* Whoever takes back what is desired: what was decided from a word before it is not swapped in any more. */
inline desire_nothing() {
#if defined(MUTANT_NO_NEXT_WORD) || defined(MUTANT_REMOVED_IN_TWO)
	desired = 0;
#else
	desired = NEXT(desired);
#endif
	expired = expired & WATCHED_BITS & ~BIT(SEQ(desired))
}

#define APPLY_LOCALS bit is_wanted, r_boosted, r_changed, r_locked; byte r_word

/* Of whoever may stop: that is the agents. */
#if HOLDER
#define goes_on(by_guardian) ((by_guardian) || !hung)
#else
#define goes_on(by_guardian) true
#endif

/* tell_guest(): after the change took effect. */
inline tell(what) {
	if
	:: has_page ->
		assert(mapped);
#ifdef MUTANT_NO_HOST_BARRIER
		atomic { !grant_buffered -> grant_value = what; grant_buffered = 1 }
#else
		grant = what /* step: apply.tell */
#endif
	:: else
	fi
}

/*
 * pvsched_apply(). Taking a lock goes with the first access under it, giving it back with the last
 * one: nobody can tell the difference. The code turns four times at most; here there are not as
 * many changes.
 */
inline apply(base_only, by_guardian) {
	atomic { if
		:: !locked -> locked = 1; r_locked = 1 /* step: apply.lock */
#if HOLDER && !defined(MUTANT_WAITS_FOR_EVER)
		:: locked && hung -> r_locked = 0 /* step: apply.beside */
#endif
		fi;
		r_word = desired; /* step: apply.word */
		r_changed = 0;
		is_wanted = used && !(base_only) && ACTIVE(r_word) }
	do
	:: is_wanted == applied ->
		if /* the guardian, which cannot tell, may have ended it */
		:: !applied && grant && !(by_guardian) -> tell(0)
		:: else
		fi;
		break
	:: is_wanted != applied ->
		if
		:: is_wanted ->
			assert(desired_of == epoch);
#if HOLDER
#ifndef MUTANT_NOT_SAID_BEFORE
			atomic { goes_on(by_guardian) -> applied = 1 }; /* step: apply.before */
#endif
			atomic { goes_on(by_guardian) -> boosted = 1 }; /* step: apply.boost */
			atomic { goes_on(by_guardian) -> applied = 1 }
#else
			boosted = 1
#endif
		:: else ->
#if HOLDER
			atomic { goes_on(by_guardian) -> boosted = 0 }; /* step: apply.restore */
			atomic { goes_on(by_guardian) -> applied = 0 }
#else
			boosted = 0
#endif
		fi;
		r_changed = 1;
		if
		:: !(by_guardian) -> tell(is_wanted)
		:: else
		fi;
		atomic { if
			:: desired == r_word -> break /* step: apply.again */
			:: else -> r_word = desired;
				is_wanted = used && !(base_only) && ACTIVE(r_word)
			fi }
	od;
	atomic { goes_on(by_guardian) -> r_boosted = applied; locked = locked && !r_locked; is_wanted = 0; r_locked = 0 }
}

#define AGENT_LOCALS bit newer, from_vcpu, got_ring, got_bell, mine

/* Did the guest end its urgency before it could see grant? Then it did not ring. */
inline unseen(c) {
	atomic { !locked -> locked = 1; heard = r_word; bell_at = c; listening = 1 } /* step: agent.listen */
#ifdef MUTANT_NO_LOOK_BACK
	locked = 0
#else
#if TICKET && !defined(MUTANT_ACK_NOT_LOOKED_AT)
	newer = ack != seen_ack; /* step: agent.unseen_ack */
#endif
	atomic { newer = newer || GEN(context) != gen; locked = 0 } /* step: agent.unseen */
#endif
}

#ifdef MUTANT_ONLY_CHANGED
#define to_be_heard (r_boosted && r_changed)
#else
#define to_be_heard (r_boosted && r_word != heard)
#endif

/* serve(): r_boosted says how it ended. */
inline serve(c) {
	apply(0, 0);
	newer = 0;
#ifdef MUTANT_LATE_BOOST_NOT_LISTENED
	if
	:: to_be_heard -> unseen(c)
	:: else -> newer = !r_boosted && LEVEL(desired)
	fi;
	if
	:: newer -> newer = 0; decide(c, 0, 1); apply(0, 0)
	:: else
	fi;
#else
	if
	:: !r_boosted && LEVEL(desired) -> decide(c, 0, 1); apply(0, 0) /* step: agent.expired */
	:: else
	fi;
	do
	:: to_be_heard -> unseen(c);
		if
		:: newer -> newer = 0; decide(c, 0, 1); apply(0, 0) /* step: agent.ask */
		:: else -> break
		fi
	:: else -> break
	od;
#endif
	if
	:: r_boosted -> atomic { watched[c] = 1; watch_word[c] = r_word }; /* step: agent.keep */
		owner = c
	:: else -> atomic { watched[c] = 0; watch_word[c] = 0 }; /* step: agent.drop */
		atomic { if
			:: owner == c -> owner = NONE
			:: else
			fi }
	fi
}

inline on_bell(c) {
	atomic { !locked -> /* step: agent.take_bell */
		if
		:: bell_at == c -> listening = 0; bell = 0
		:: else
		fi }
	if
	:: ACTIVE(desired) -> decide(c, 0, 1)
	:: else
	fi;
	serve(c);
	if
	:: r_boosted -> atomic { !locked -> bell_at = c; listening = 1 }
	:: else
	fi
}

inline look(c) {
	if
	:: watched[c] ->
		mine = owner == c;
		if
		:: !PAST(watch_word[c]) && desired == watch_word[c] -> /* step: agent.look */
			atomic { watched[c] = mine; watch_word[c] = (mine -> watch_word[c] : 0) }
		:: PAST(watch_word[c]) || desired != watch_word[c] -> serve(c)
		fi
	:: else
	fi
}

/* The vCPU loses its CPU: what it stored is there before sched_switch is. */
inline switch_out() {
	off = 1; switching = 1; /* step: switch.out */
	context = (context_buffered -> context_value : context); context_buffered = 0;
	ack = (ack_buffered -> ack_value : ack); ack_buffered = 0
}

proctype Agent(byte c) {
	DECIDE_LOCALS; APPLY_LOCALS; AGENT_LOCALS;
	do
	:: atomic { !hung && !(at_cpu[c] == 1 && switching) &&
		   (ring[c] || other[c] || (bell && bell_at == c && listening) ||
#ifdef MUTANT_NO_EXPIRY_SLEEP
		    0) ->
#else
		    (watched[c] && PAST(watch_word[c]))) -> /* step: agent.sleep */
#endif
		got_ring = ring[c] > 0;
		got_bell = bell && bell_at == c && listening;
		other[c] = 0;
		from_vcpu = at_cpu[c] == 1;
		at_cpu[c] = 2;
		if
		:: from_vcpu -> switch_out()
		:: else
		fi }
		if
		:: from_vcpu ->
#ifdef MUTANT_ANY_AGENT_LOOKS
			mine = 1;
#else
			mine = owner == c; /* step: switch.by_agent */
#endif
			decide(SWITCH(c), 0, mine);
			switching = 0
		:: else
		fi;
		if
		:: got_ring -> ring[c] = 0; serve(c)
		:: else
		fi;
		if
		:: got_bell -> on_bell(c)
		:: else
		fi;
		look(c);
		atomic { at_cpu[c] = (hung && HOLDER -> at_cpu[c] : 0); got_ring = 0; got_bell = 0; from_vcpu = 0; mine = 0;
			r_boosted = 0; r_changed = 0; r_word = 0 }
#if REMOVE || REREGISTER
	:: atomic { again && off -> again = 0 } /* the policy wanted to be asked again at this time */
		decide(c, 0, 1);
		serve(c);
		atomic { r_boosted = 0; r_changed = 0; r_word = 0 }
#endif
	od
}

/* Rivals take the CPU from an ordinary thread; the vCPU gets one that is free. */
proctype Sched() {
	DECIDE_LOCALS;
	byte cpu;
	do
	:: atomic { preemptions_left && RUNS && !boosted -> preemptions_left--;
		at_cpu[v_cpu] = 0;
		switch_out() }
		decide(SCHED, 0, 0);
		switching = 0
	:: atomic { off && !switching ->
		if
		:: at_cpu[0] == 0 -> cpu = 0
		:: at_cpu[1] == 0 -> cpu = 1
		fi;
		at_cpu[cpu] = 1; v_cpu = cpu; off = 0; switching = 1 } /* step: switch.in */
		if
		:: applied || ACTIVE(desired) -> decide(SCHED, 0, 0)
		:: else
		fi;
		atomic { switching = 0; cpu = 0 }
	od
}

/* What the guest must do, spec section 5.3. */
inline end_urgency() {
#ifndef MUTANT_NO_GUEST_BARRIER
	atomic { RUNS && !context_buffered && !ack_buffered }; /* step: guest.barrier */
#endif
	atomic { RUNS -> saw = grant } /* step: guest.look */
	if
	:: saw -> atomic { RUNS -> bell = 1; saw = 0 } /* step: guest.ring */
#if SILENT
	:: saw -> saw = 0
#endif
	:: else
	fi
}

#if STORE_BUFFERS
#define store_context(word) context_value = word; context_buffered = 1
#define store_ack(word)	    ack_value = word; ack_buffered = 1
#else
#define store_context(word) context = word
#define store_ack(word)	    ack = word
#endif

proctype Guest() {
	bit saw;
	do
	:: atomic { sections_left && RUNS && !context_buffered -> number++;
		store_context((number << 1) | 1) } /* step: guest.publish */
		atomic { RUNS && !context_buffered -> number++; sections_left--;
			store_context(number << 1) }
		end_urgency()
#if TICKET
	:: atomic { interrupt && RUNS && !ack_buffered -> interrupt = 0;
		store_ack(ticket) } /* step: guest.ack */
		end_urgency()
#endif
	od
}

/* Stores become visible. */
proctype Buffers() {
	do
	:: atomic { context_buffered -> context = context_value; context_buffered = 0 }
#if TICKET
	:: atomic { ack_buffered -> ack = ack_value; ack_buffered = 0 }
#endif
#ifdef MUTANT_NO_HOST_BARRIER
	:: atomic { grant_buffered -> grant = grant_value; grant_buffered = 0 }
#endif
	od
}

/* Other vCPUs have something to be done. */
proctype Others() {
	byte left = OTHERS;
	do
	:: atomic { left && !other[0] -> other[0] = 1; left-- }
	:: atomic { left && !other[1] -> other[1] = 1; left-- }
	od
}

/* An interrupt is pending for the vCPU; KVM's tracepoint comes before it can be taken. */
proctype Device() {
	DECIDE_LOCALS;
	decide(DEVICE, 1, 0);
	interrupt = 1
}

/* Whatever is in force, or watched, comes to its end. */
proctype Clock() {
	do
	:: atomic { ACTIVE(desired) -> expired = expired | BIT(SEQ(desired)) }
	:: atomic { watched[0] && !PAST(watch_word[0]) ->
		expired = expired | BIT(SEQ(watch_word[0])) }
	:: atomic { watched[1] && !PAST(watch_word[1]) ->
		expired = expired | BIT(SEQ(watch_word[1])) }
	od
}

/* bpf_timer: a boost that outlived its expiry. It is armed again until nobody is needed: a hint may be
 * lost, or who comes find what an agent then goes on with. Where neither is, once is enough. While the
 * guardian has not taken what it was told, more changes nothing. */
proctype Second_line() {
	do
	:: atomic { armed && applied && !ACTIVE(desired) && ring[GUARDIAN] < 2 ->
		armed = 0 } /* step: timer.second_line */
		hint(GUARDIAN);
		hint(v_cpu);
#if (LOSS || HOLDER) && !defined(MUTANT_NOT_ARMED_AGAIN)
		armed = 1 /* step: timer.again */
#endif
	od
}

proctype Guardian() {
	APPLY_LOCALS;
	do
	:: ring[GUARDIAN] -> ring[GUARDIAN] = 0;
		if
		:: !ACTIVE(desired) -> apply(1, 1) /* step: guardian.restore */
		:: else
		fi
	od
}

/*
 * pvsched_registry_disable(); then the page is the guest's alone. With REMOVE pvsched_registry_remove(). A
 * program that an agent runs can be preempted, and no grace period waits for it: what it decided before
 * it may write at any time after. It reads and writes a page that is nobody's then, or that of the next
 * epoch; what it decided is dropped, since the word that it read is desired no more.
 */
proctype Detach() {
	APPLY_LOCALS;
	byte id = 2;
	page_on = 0; /* step: disable.programs */
#ifndef MUTANT_NO_GRACE_PERIOD
	do /* step: disable.grace */
	:: id < PROGRAMS -> atomic { !(inside & BIT(id)) -> id++ }
	:: else -> break
	od;
#endif
	atomic { desire_nothing() } /* step: disable.word */
#ifndef MUTANT_NOT_RESTORED
	apply(1, 0);
#endif
	atomic { !locked -> has_page = 0 }; /* step: disable.page */
#if REMOVE
#ifdef MUTANT_REMOVED_IN_TWO
	atomic { desire_nothing() };
	apply(1, 0);
	used = 0;
#else
	atomic { !locked -> locked = 1; desire_nothing() } /* step: remove.word */
	boosted = 0;
	atomic { used = 0; locked = 0 } /* step: remove.used */
#endif
#endif
	/* the guest has its own page back, the host's area cleared */
	atomic { assert(!boosted); mapped = 0; grant = 0; epoch = 1 }
#if REREGISTER
	/* REGISTER: the guest's words begin anew */
	atomic { context = 0; number = 0; mapped = 1 }
	atomic { !locked -> has_page = 1 } /* step: enable.page */
	page_on = 1 /* step: enable.programs */
#endif
}

/*
 * When nothing can move any more the guest has nothing urgent, so: no boost without a reason or an
 * unexpired bound (EXPIRY), none without a reason (no EXPIRY, no LOSS: no doorbell was lost), what
 * was desired last is applied, and grant tells the truth.
 */
proctype Monitor() {
	timeout ->
	assert(!sections_left && !interrupt);
	assert(!used || boosted == ACTIVE(desired));
	assert(!boosted);
	assert(EXPIRY || !mapped || grant == boosted) /* the guardian cannot tell */
}

init {
	atomic {
		at_cpu[0] = 1;
		run Guest(); run Agent(0); run Sched(); run Monitor();
#if CPUS == 1
		at_cpu[1] = 2 /* nobody's */
#else
		run Agent(1)
#endif
#if EXPIRY
		run Clock();
#endif
#if HANG
		run Second_line(); run Guardian();
#endif
#if STORE_BUFFERS
		run Buffers();
#endif
#if TICKET
		run Device();
#endif
#if OTHERS
		run Others();
#endif
#if DETACH
		run Detach();
#endif
	}
#if HOLDER
	/* one that is stopped takes no CPU */
	atomic { hung = 1; at_cpu[0] = (at_cpu[0] == 2 -> 0 : at_cpu[0]);
		at_cpu[1] = (at_cpu[1] == 2 && CPUS == 2 -> 0 : at_cpu[1]) }
#elif HANG
	hung = 1
#endif
}

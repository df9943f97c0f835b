package chaos

import (
	"bytes"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"trunkline/integration/harness"
	"trunkline/topology"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults. All victims come back.
const (
	Kill             Kind = "kill"               // SIGKILL at any moment
	KillJoining      Kind = "kill_joining"       // and again while it joins its groups
	KillRecovering   Kind = "kill_recovering"    // without its disk, and again while its tables recover
	KillBeforeCommit Kind = "kill_before_commit" // between the records of a transaction and its EndTxn
	KillAfterCommit  Kind = "kill_after_commit"  // between EndTxn and the write of the local store
	KillEdge         Kind = "kill_edge"
	PauseInstance    Kind = "pause" // SIGSTOP longer than the session time-out, with reorder buffers due
	LoseDisk         Kind = "lose_disk"
	LoseMachine      Kind = "lose_machine" // gone longer than the session time-out, back with nothing
	LateCommit       Kind = "late_commit"  // an EndTxn arrives after its resend (KIP-890)

	KillChangelogLeader        Kind = "kill_changelog_leader"
	KillTransactionCoordinator Kind = "kill_transaction_coordinator"
	KillGroupCoordinator       Kind = "kill_group_coordinator"
	PauseBroker                Kind = "pause_broker"
	CutBroker                  Kind = "cut_broker"
	SlowBroker                 Kind = "slow_broker"
)

var (
	kills        = []Kind{Kill, KillJoining, KillRecovering, Kill, KillBeforeCommit, KillAfterCommit, Kill, KillEdge}
	brokerFaults = []Kind{KillChangelogLeader, KillTransactionCoordinator, KillGroupCoordinator, PauseBroker}
	lostDisks    = []Kind{LoseDisk, LoseMachine}
	cuts         = []Kind{CutBroker, SlowBroker}
)

const (
	sessionTimeout = 10 * time.Second // of the deployment
	brokerAway     = 15 * time.Second
)

// kinds says of each kind how long the deployment gets before the next fault,
// whether it needs real brokers, and what it does.
var kinds = map[Kind]struct {
	gap  time.Duration
	real bool
	do   func(*run, fault)
}{
	Kill:           {8 * time.Second, false, func(r *run, f fault) { r.restart(r.victim(f)) }},
	KillEdge:       {8 * time.Second, false, func(r *run, _ fault) { r.restart(r.edge) }},
	KillJoining:    {9 * time.Second, false, killTwice},
	KillRecovering: {12 * time.Second, false, killRecovering},
	LoseDisk:       {12 * time.Second, false, func(r *run, f fault) { r.restartEmpty(r.victim(f)) }},
	LoseMachine: {sessionTimeout + 25*time.Second, false, func(r *run, f fault) {
		victim := r.victim(f)
		victim.Kill()
		victim.LoseDisk()
		r.sleep(sessionTimeout + 8*time.Second + f.delay)
		r.start(victim)
	}},
	PauseInstance:    {sessionTimeout + 14*time.Second, false, pauseInstance},
	KillBeforeCommit: {10 * time.Second, true, killBeforeCommit},
	KillAfterCommit:  {10 * time.Second, true, killAfterCommit},
	LateCommit:       {10 * time.Second, true, lateCommit},
	CutBroker: {30 * time.Second, true, func(r *run, f fault) {
		broker := r.leader(f)
		r.cluster.Proxies().Cut(broker)
		r.sleep(3*time.Second + f.delay)
		r.cluster.Proxies().Heal(broker)
	}},
	SlowBroker: {20 * time.Second, true, func(r *run, f fault) {
		broker := r.leader(f)
		r.cluster.Proxies().Delay(broker, 50*time.Millisecond+f.delay/10)
		r.sleep(5 * time.Second)
		r.cluster.Proxies().Heal(broker)
	}},
	KillChangelogLeader: {60 * time.Second, true, func(r *run, f fault) { r.killBroker(r.leader(f)) }},
	KillTransactionCoordinator: {60 * time.Second, true, func(r *run, f fault) {
		r.killBroker(r.cluster.TransactionCoordinator(transactionalID(string(topology.EntityGroup), r.victim(f).name)))
	}},
	KillGroupCoordinator: {60 * time.Second, true, func(r *run, _ fault) {
		r.killBroker(r.cluster.GroupCoordinator(string(topology.NormaliseGroup)))
	}},
	PauseBroker: {60 * time.Second, true, func(r *run, f fault) {
		broker := r.leader(f)
		r.cluster.Pause(broker)
		r.sleep(brokerAway)
		r.cluster.Resume(broker)
	}},
}

func killTwice(r *run, f fault) {
	victim := r.victim(f)
	r.restart(victim)
	r.sleep(f.delay / 2)
	r.restart(victim)
}

func killRecovering(r *run, f fault) {
	victim := r.victim(f)
	r.restartEmpty(victim)
	r.sleep(time.Second + f.delay)
	r.restart(victim)
}

// pauseInstance stops an instance in the middle of the traffic: what its reorder
// buffers hold falls due meanwhile, and others take its partitions over (trap 4).
func pauseInstance(r *run, f fault) {
	victim := r.victim(f)
	victim.Signal(syscall.SIGSTOP)
	r.sleep(sessionTimeout + 3*time.Second + f.delay)
	victim.Signal(syscall.SIGCONT)
}

func killBeforeCommit(r *run, f fault) {
	victim := r.victim(f)
	r.atCommit(victim, func(hit func()) harness.Watcher {
		return harness.Watcher{OnRequest: func(e harness.Exchange) harness.Verdict {
			if !commits(e, victim.name) {
				return harness.Forward
			}
			victim.Signal(syscall.SIGKILL)
			hit()
			return harness.Drop
		}}
	})
	r.restart(victim)
}

func killAfterCommit(r *run, f fault) {
	victim := r.victim(f)
	r.atCommit(victim, func(hit func()) harness.Watcher {
		return harness.Watcher{OnResponse: func(e harness.Exchange) harness.Verdict {
			if !commits(e, victim.name) {
				return harness.Forward
			}
			victim.Signal(syscall.SIGKILL)
			hit()
			return harness.Drop
		}}
	})
	r.restart(victim)
}

// lateCommit lets the first copy of an EndTxn arrive after the copy that the
// client sends when it gets no answer.
func lateCommit(r *run, f fault) {
	victim := r.victim(f)
	r.atCommit(victim, func(hit func()) harness.Watcher {
		var held atomic.Bool
		return harness.Watcher{OnRequest: func(e harness.Exchange) harness.Verdict {
			if !commits(e, victim.name) || !held.CompareAndSwap(false, true) {
				return harness.Forward
			}
			hit()
			return harness.Hold
		}}
	})
	r.sleep(f.delay)
	if _, err := r.cluster.Proxies().Deliver(); err != nil {
		r.t.Logf("the held EndTxn found no broker: %v", err)
	}
}

// commits reports whether e ends a transaction of the instance in either group.
func commits(e harness.Exchange, instance string) bool {
	return e.Key == kmsg.EndTxn.Int16() && (bytes.Contains(e.Body, []byte(transactionalID(string(topology.EntityGroup), instance))) ||
		bytes.Contains(e.Body, []byte(transactionalID(string(topology.NormaliseGroup), instance))))
}

func transactionalID(group, instance string) string { return group + "-" + instance }

// Package sabotage proves that the tests can fail: it builds the program with one
// seeded defect at a time, each of which would lose, double or disorder events,
// and demands that a test notices.
package sabotage

// defect is one way to break the program.
type defect struct {
	name  string
	edits []edit
	// pkg and test catch it: the pattern of `go test -run`.
	pkg, test string
}

// edit replaces text that stands exactly once in a file.
type edit struct{ file, old, new string }

// defects are all of them; document what a test is for by adding one.
var defects = []defect{
	{
		name:  "acks of the leader alone",
		edits: []edit{{"stream/config.go", "sarama.WaitForAll", "sarama.WaitForLocal"}},
		pkg:   "./stream", test: "TestConfigurationLeavesNothingToChance",
	},
	{
		name: "offsets marked one by one",
		edits: []edit{
			{"stream/session.go", "	s.gate.leave()\n", "	s.gate.leave()\n	s.ConsumerGroupSession.MarkOffset(topic, partition, offset, \"\")\n	s.ConsumerGroupSession.Commit()\n"},
		},
		pkg: "./stream", test: "TestKilledProcessLosesAndDoublesNothing",
	},
	{
		name:  "dedup that looks at ids alone",
		edits: []edit{{"processors/normalise.go", "case known && seen.First.Same(r.raw):", "case known && seen.First.Same(event.Position{}):"}},
		pkg:   "./processors", test: "TestNormalise",
	},
	{
		name:  "reading what is not committed",
		edits: []edit{{"stream/config.go", "sarama.ReadCommitted", "sarama.ReadUncommitted"}},
		pkg:   "./integration", test: "TestKilledInstancesLoseAndDoubleNothing",
	},
	{
		name:  "store written through",
		edits: []edit{{"state/store.go", "case !s.recovering && s.opts.WriteThrough:", "case !s.recovering:"}},
		pkg:   "./stream", test: "TestKilledProcessLosesAndDoublesNothing",
	},
	{
		name:  "no fsync",
		edits: []edit{{"ingest/spool/queue.go", "s.file.Sync()", "error(nil)"}},
		pkg:   "./ingest/spool", test: "TestPowerCutsLoseNothingAccepted",
	},
	{
		name:  "no offsets with a transaction of ticks alone",
		edits: []edit{{"stream/session.go", "	if !moved {\n		for", "	if false {\n		for"}},
		pkg:   "./stream", test: "TestStaleMemberCannotCommitTicksAlone|TestEveryTransactionCarriesOffsetsAndGeneration",
	},
	{
		name:  "no new epoch after a resent commit",
		edits: []edit{{"stream/session.go", "	if resent {", "	if resent && false {"}},
		pkg:   "./stream", test: "TestLateCopyOfCommitDoesNotEndNextTransaction",
	},
	{
		name:  "reordering by the wall clock",
		edits: []edit{{"stream/claim.go", "now.ms = max(now.ms, c.clocks[now.clock])", "now.ms = max(now.ms, time.Now().UnixMilli())"}},
		pkg:   "./stream", test: "TestTimersFollowTheLog",
	},
	{
		name: "expiry at the time of the tick",
		edits: []edit{
			{"processors/entity.go", "	if step.row.Idle(nowMs, rules) {\n", "	if step.row.Idle(nowMs, rules) {\n		rules.IdleMs = nowMs - step.row.SeenMs\n"},
		},
		pkg: "./processors", test: "TestInteractionsExpire",
	},
	{
		name:  "before from the new image",
		edits: []edit{{"state/entity.go", "	change.After = r.Side()\n", "	change.After = r.Side()\n	if change.Before != nil {\n		change.Before = r.Side()\n	}\n"}},
		pkg:   "./integration", test: "TestSelfTestBalances",
	},
	{
		name: "tombstones outside the transaction",
		edits: []edit{{"stream/producer.go", "func (p *producer) send(msg *sarama.ProducerMessage) {\n", `func (p *producer) send(msg *sarama.ProducerMessage) {
	if msg.Value == nil {
		cfg := sarama.NewConfig()
		cfg.Producer.Return.Successes = true
		cfg.Producer.Partitioner = sarama.NewManualPartitioner
		aside, err := sarama.NewSyncProducer([]string{p.client.Brokers()[0].Addr()}, cfg)
		if err == nil {
			_, _, _ = aside.SendMessage(msg)
			_ = aside.Close()
		}
		return
	}
`}},
		pkg: "./integration", test: "TestSelfTestBalances",
	},
	{
		name: "goka's own hash",
		edits: []edit{{"topology/partition.go", "	return murmur2([]byte(event.PartitionKey(string(h.key)))) & 0x7fffffff\n", "	f := fnv.New32a()\n	_, _ = f.Write(h.key)\n	return f.Sum32()\n"},
			{"topology/partition.go", "	\"hash\"\n", "	\"hash\"\n	\"hash/fnv\"\n"}},
		pkg: "./topology", test: "TestOneRule",
	},
	{
		name: "rows on disk before the commit is known",
		edits: []edit{{"stream/session.go", "	resent, err := s.e.producer.commit(offsets, s.group)\n", `	_ = s.e.tables.each(func(tp topicPartition, store *state.Store) error {
		return store.Commit(s.e.producer.changelogOffset(tp))
	})
	resent, err := s.e.producer.commit(offsets, s.group)
`}},
		pkg: "./stream", test: "TestKilledProcessLosesAndDoublesNothing",
	},
	{
		name:  "dead letters swallowed",
		edits: []edit{{"processors/normalise.go", "		send(ctx, []output{n.deadLetter(", "		send(ctx, []output{}); _ = ([]output{n.deadLetter("}},
		pkg:   "./integration", test: "TestSelfTestBalances",
	},
	{
		name:  "beginning at the end of the log",
		edits: []edit{{"stream/config.go", "s.Consumer.Offsets.Initial = sarama.OffsetOldest", "s.Consumer.Offsets.Initial = sarama.OffsetNewest"}},
		pkg:   "./stream", test: "TestConfigurationLeavesNothingToChance|TestCountsEachRecordOnceOverRestarts",
	},
}

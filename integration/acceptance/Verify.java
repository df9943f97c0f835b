// Reads the change topics as Kafka Connect would and checks every record with what
// Debezium checks its own records with: VerifyRecord, and ExtractNewRecordState, which
// most sinks unwrap records with. It takes the converters and topics of a sink's
// properties, or other topics, and the brokers from KAFKA. The last line it prints is the
// result, as JSON.
//
//     java -cp 'debezium/*:avro/*' Verify.java jdbc-sink-avro.properties

import io.debezium.data.VerifyRecord;
import io.debezium.transforms.ExtractNewRecordState;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigTransformer;
import org.apache.kafka.common.config.provider.EnvVarConfigProvider;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.Converter;

public class Verify {

    private static final int EXAMPLES = 5;

    private final Converter keys;
    private final Converter values;
    private final ExtractNewRecordState<SourceRecord> unwrap = new ExtractNewRecordState<>();
    private final Map<String, Long> seen = new TreeMap<>(); // by op, tombstones among them
    private long violations;

    Verify(Map<String, String> sink) throws ReflectiveOperationException {
        keys = converter(sink, "key.converter", true);
        values = converter(sink, "value.converter", false);
        unwrap.configure(Map.of("delete.tombstone.handling.mode", "rewrite-with-tombstone"));
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> sink = properties(args[0]);
        Verify verify = new Verify(sink);
        verify.read(args.length > 1 ? args[1] : sink.get("topics.regex"));
        System.out.println(verify.result());
    }

    private static Map<String, String> properties(String file) throws Exception {
        Properties all = new Properties();
        try (Reader reader = Files.newBufferedReader(Path.of(file))) {
            all.load(reader);
        }
        Map<String, String> properties = new HashMap<>();
        all.stringPropertyNames().forEach(name -> properties.put(name, all.getProperty(name)));
        EnvVarConfigProvider environment = new EnvVarConfigProvider();
        environment.configure(Map.of());
        return new ConfigTransformer(Map.of("env", environment)).transform(properties).data();
    }

    // A converter is given what stands below its own name, as a worker does.
    private static Converter converter(Map<String, String> sink, String name, boolean isKey) throws ReflectiveOperationException {
        Map<String, String> config = new HashMap<>();
        sink.forEach((key, value) -> {
            if (key.startsWith(name + ".")) {
                config.put(key.substring(name.length() + 1), value);
            }
        });
        Converter converter = (Converter) Class.forName(sink.get(name)).getDeclaredConstructor().newInstance();
        converter.configure(config, isKey);
        return converter;
    }

    // read takes all records that are committed now.
    private void read(String topics) {
        Map<String, Object> config = Map.of(
                "bootstrap.servers", System.getenv("KAFKA"),
                "isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.listTopics().forEach((topic, infos) -> {
                if (topic.matches(topics)) {
                    infos.forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
                }
            });
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                consumer.poll(Duration.ofSeconds(1)).forEach(this::check);
            }
        }
    }

    private void check(ConsumerRecord<byte[], byte[]> record) {
        try {
            SchemaAndValue key = keys.toConnectData(record.topic(), record.key());
            SchemaAndValue value = values.toConnectData(record.topic(), record.value());
            SourceRecord converted = new SourceRecord(Map.of(), Map.of(), record.topic(), record.partition(),
                    key.schema(), key.value(), value.schema(), value.value());
            VerifyRecord.isValid(converted, true); // its Avro part wants a registry of its own on port 8080
            checkOp(converted);
        } catch (Throwable violation) { // of an AssertionError, too
            if (++violations <= EXAMPLES) {
                System.err.printf("%s/%d/%d: %s%n", record.topic(), record.partition(), record.offset(), violation);
            }
        }
    }

    private void checkOp(SourceRecord record) {
        Struct envelope = (Struct) record.value();
        String op = envelope == null ? "tombstone" : envelope.getString("op");
        seen.merge(op, 1L, Long::sum);
        switch (op) {
            case "c" -> VerifyRecord.isValidInsert(record, true);
            case "r" -> VerifyRecord.isValidRead(record);
            case "u" -> VerifyRecord.isValidUpdate(record, true);
            case "d" -> VerifyRecord.isValidDelete(record, true);
            case "tombstone" -> VerifyRecord.isValidTombstone(record);
            default -> throw new AssertionError("unknown op " + op);
        }
        SourceRecord unwrapped = unwrap.apply(record);
        if (unwrapped == null) {
            throw new AssertionError(op + " is lost by ExtractNewRecordState");
        }
        if (envelope == null) {
            require(unwrapped.value() == null, "the tombstone has a value");
            return;
        }
        Struct row = (Struct) unwrapped.value();
        Struct image = envelope.getStruct(op.equals("d") ? "before" : "after");
        for (Field field : image.schema().fields()) {
            require(Objects.equals(image.get(field), row.get(field.name())), field.name() + " differs in the unwrapped row");
        }
        require(row.getString("__deleted").equals(String.valueOf(op.equals("d"))), "__deleted is wrong");
    }

    private static void require(boolean holds, String fault) {
        if (!holds) {
            throw new AssertionError(fault);
        }
    }

    private String result() {
        StringBuilder ops = new StringBuilder();
        seen.forEach((op, n) -> ops.append(ops.isEmpty() ? "" : ",").append('"').append(op).append("\":").append(n));
        return "{\"violations\":" + violations + ",\"records\":{" + ops + "}}";
    }
}

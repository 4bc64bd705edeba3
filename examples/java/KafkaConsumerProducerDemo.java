import java.util.Collections;
import java.util.Properties;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.IntegerDeserializer;
import org.apache.kafka.common.serialization.IntegerSerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The twin of examples/kafka_consumer_producer_demo.rs on the Java clients of 0.9: the same arguments, the same lines.
 *
 * <pre>KafkaConsumerProducerDemo [sync|async] [BOOTSTRAP] [TOPIC] [PAUSE_MS]</pre>
 */
public final class KafkaConsumerProducerDemo {
    private final boolean sync;
    private final String bootstrap;
    private final String topic;
    private final long pause;

    private KafkaConsumerProducerDemo(String[] arguments) {
        sync = arguments.length > 0 && arguments[0].trim().equalsIgnoreCase("sync");
        bootstrap = arguments.length > 1 ? arguments[1] : "localhost:9092";
        topic = arguments.length > 2 ? arguments[2] : "topic1";
        pause = arguments.length > 3 ? Long.parseLong(arguments[3]) : 0;
    }

    public static void main(String[] arguments) {
        KafkaConsumerProducerDemo demo = new KafkaConsumerProducerDemo(arguments);
        start("producer", demo::produce);
        start("consumer", demo::consume);
    }

    private interface Work {
        void run() throws Exception;
    }

    /** Runs a thread; the program ends when it fails. */
    private static void start(String name, Work work) {
        new Thread(() -> {
            try {
                work.run();
            } catch (Exception e) {
                e.printStackTrace();
                System.exit(1);
            }
        }, name).start();
    }

    private void produce() throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("client.id", "DemoProducer");
        try (KafkaProducer<Integer, String> producer =
                new KafkaProducer<>(settings, new IntegerSerializer(), new StringSerializer())) {
            for (int number = 1; ; number++) {
                Thread.sleep(pause);
                send(producer, number);
            }
        }
    }

    private void send(KafkaProducer<Integer, String> producer, int number) throws Exception {
        String value = "Message_" + number;
        ProducerRecord<Integer, String> record = new ProducerRecord<>(topic, number, value);
        if (sync) {
            producer.send(record).get();
            System.out.printf("Sent message: (%d, %s)%n", number, value);
            return;
        }
        long begin = System.nanoTime();
        producer.send(record, (where, failure) -> {
            if (failure == null) {
                System.out.printf("message(%d, %s) sent to partition(%d), offset(%d) in %d ms%n",
                        number, value, where.partition(), where.offset(), (System.nanoTime() - begin) / 1_000_000);
            } else {
                System.err.printf("message(%d, %s) was not sent: %s%n", number, value, failure);
            }
        });
    }

    private void consume() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", "DemoConsumer");
        settings.put("enable.auto.commit", "true");
        settings.put("auto.commit.interval.ms", "1000");
        settings.put("session.timeout.ms", "30000");
        try (KafkaConsumer<Integer, String> consumer =
                new KafkaConsumer<>(settings, new IntegerDeserializer(), new StringDeserializer())) {
            consumer.subscribe(Collections.singletonList(topic));
            while (true) {
                for (ConsumerRecord<Integer, String> record : consumer.poll(1000)) {
                    System.out.printf("Received message: (%d, %s) at offset %d%n",
                            record.key(), record.value(), record.offset());
                }
            }
        }
    }
}

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.StringJoiner;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Reads a topic with Apache's own client and prints one JSON line per message, queue by queue in
 * the queue's order.
 *
 * <p>Usage: Reader NAME_SERVER TOPIC COUNT TIMEOUT_MS. It reads every queue from its lowest offset
 * until COUNT different events (property eventId, else the message id) were seen and every queue was
 * found at its end once more, or until the time is over. COUNT 0 reads what is there. No offset is
 * committed. It always exits with 0 after a topic was found: the test judges what came.
 */
public final class Reader {
    /** Set by client or broker; the class of constants lists those of its version, some came later. */
    private static final Set<String> SYSTEM = new HashSet<>(MessageConst.STRING_HASH_SET);

    static {
        SYSTEM.addAll(List.of("MIN_OFFSET", "MAX_OFFSET", "CLUSTER", "MSG_REGION", "TRACE_ON", "UNIQ_KEY", "WAIT"));
    }

    public static void main(String[] args) throws Exception {
        // The client logs to whatever System.out is; stdout is for messages.
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        System.setOut(System.err);
        String nameServer = args[0];
        String topic = args[1];
        int count = Integer.parseInt(args[2]);
        long deadline = System.currentTimeMillis() + Long.parseLong(args[3]);

        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("GID_AcceptanceReader");
        consumer.setNamesrvAddr(nameServer);
        consumer.setInstanceName("reader-" + ProcessHandle.current().pid());
        consumer.setVipChannelEnabled(false);
        consumer.start();
        int code = 0;
        try {
            TreeMap<MessageQueue, List<MessageExt>> byQueue = read(consumer, topic, count, deadline);
            for (Map.Entry<MessageQueue, List<MessageExt>> entry : byQueue.entrySet()) {
                for (MessageExt message : entry.getValue()) {
                    out.println(line(entry.getKey(), message));
                }
            }
            out.flush();
        } catch (IllegalStateException error) {
            System.err.println(error.getMessage());
            code = 1;
        }
        consumer.shutdown();
        // The client leaves timers behind.
        Runtime.getRuntime().halt(code);
    }

    private static TreeMap<MessageQueue, List<MessageExt>> read(
            DefaultMQPullConsumer consumer, String topic, int count, long deadline) throws Exception {
        Map<MessageQueue, Long> next = new HashMap<>();
        TreeMap<MessageQueue, List<MessageExt>> byQueue = new TreeMap<>();
        Set<String> events = new HashSet<>();
        Exception problem = null;
        int quietPasses = 0;
        while (true) {
            boolean found = false;
            try {
                // Asked again each time: queues may be added.
                for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
                    if (!next.containsKey(queue)) {
                        next.put(queue, consumer.minOffset(queue));
                    }
                    found |= drain(consumer, queue, next, byQueue, events);
                }
                problem = null;
            } catch (Exception error) {
                problem = error;
            }
            quietPasses = found || problem != null ? 0 : quietPasses + 1;
            boolean over = System.currentTimeMillis() >= deadline;
            if (over && next.isEmpty()) {
                throw new IllegalStateException("topic " + topic + " is not readable: " + problem);
            }
            if (over || (quietPasses >= 2 && events.size() >= count)) {
                return byQueue;
            }
            Thread.sleep(count == 0 ? 10 : 50);
        }
    }

    private static boolean drain(DefaultMQPullConsumer consumer, MessageQueue queue, Map<MessageQueue, Long> next,
            TreeMap<MessageQueue, List<MessageExt>> byQueue, Set<String> events) throws Exception {
        boolean found = false;
        while (true) {
            PullResult result = consumer.pull(queue, "*", next.get(queue), 32);
            next.put(queue, result.getNextBeginOffset());
            if (result.getPullStatus() != PullStatus.FOUND) {
                return found;
            }
            for (MessageExt message : result.getMsgFoundList()) {
                found = true;
                byQueue.computeIfAbsent(queue, key -> new ArrayList<>()).add(message);
                String event = message.getProperty("eventId");
                events.add(event == null ? message.getMsgId() : event);
            }
        }
    }

    private static String line(MessageQueue queue, MessageExt message) {
        StringBuilder out = new StringBuilder("{\"topic\":").append(quoted(message.getTopic()));
        out.append(",\"broker\":").append(quoted(queue.getBrokerName()));
        out.append(",\"queueId\":").append(message.getQueueId());
        out.append(",\"queueOffset\":").append(message.getQueueOffset());
        out.append(",\"tag\":").append(message.getTags() == null ? "null" : quoted(message.getTags()));
        StringJoiner keys = new StringJoiner(",", "[", "]");
        if (message.getKeys() != null) {
            for (String key : message.getKeys().split(" ")) {
                keys.add(quoted(key));
            }
        }
        out.append(",\"keys\":").append(keys);
        StringJoiner properties = new StringJoiner(",", "{", "}");
        for (Map.Entry<String, String> entry : new TreeMap<>(message.getProperties()).entrySet()) {
            if (!SYSTEM.contains(entry.getKey())) {
                properties.add(quoted(entry.getKey()) + ":" + quoted(entry.getValue()));
            }
        }
        out.append(",\"properties\":").append(properties);
        out.append(",\"storedAt\":").append(message.getStoreTimestamp());
        try {
            String body = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(message.getBody())).toString();
            out.append(",\"body\":").append(quoted(body));
        } catch (CharacterCodingException error) {
            String body = Base64.getEncoder().encodeToString(message.getBody());
            out.append(",\"bodyBase64\":").append(quoted(body));
        }
        return out.append('}').toString();
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 0x20) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}

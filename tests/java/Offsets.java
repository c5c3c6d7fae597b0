import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Tells how long the queues of a topic are, and samples them, where reading all would take too long.
 *
 * <p>Usage: Offsets NAME_SERVER TOPIC WINDOWS LENGTH. Prints one line per queue, {@code queue BROKER ID MIN MAX}, and
 * WINDOWS stretches of each queue, spread evenly, of LENGTH messages: a line {@code window}, then one line per
 * message, {@code CLIENT_ID CHANNEL_ID TAG SEQUENCE EVENT_ID}.
 */
public final class Offsets {
    private static final int ATTEMPTS = 10;

    public static void main(String[] args) throws Exception {
        // The client logs to whatever System.out is.
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        System.setOut(System.err);
        int windows = Integer.parseInt(args[2]);
        int length = Integer.parseInt(args[3]);
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("GID_AcceptanceOffsets");
        consumer.setNamesrvAddr(args[0]);
        consumer.setInstanceName("offsets-" + ProcessHandle.current().pid());
        consumer.setVipChannelEnabled(false);
        consumer.start();
        int code = 0;
        try {
            Set<MessageQueue> queues = new TreeSet<>(queues(consumer, args[1]));
            for (MessageQueue queue : queues) {
                long min = consumer.minOffset(queue);
                long max = consumer.maxOffset(queue);
                out.println("queue " + queue.getBrokerName() + " " + queue.getQueueId() + " " + min + " " + max);
                for (int window = 0; window < windows; window++) {
                    out.println("window");
                    sample(consumer, queue, min + (max - min) * window / windows, length, out);
                }
            }
        } catch (Exception error) {
            error.printStackTrace();
            code = 1;
        }
        out.flush();
        consumer.shutdown();
        // The client leaves timers behind.
        Runtime.getRuntime().halt(code);
    }

    /** A busy machine may answer the first question too late. */
    private static Set<MessageQueue> queues(DefaultMQPullConsumer consumer, String topic) throws Exception {
        for (int attempt = 1;; attempt++) {
            try {
                return consumer.fetchSubscribeMessageQueues(topic);
            } catch (MQClientException error) {
                if (attempt == ATTEMPTS) {
                    throw error;
                }
                Thread.sleep(1000);
            }
        }
    }

    private static void sample(DefaultMQPullConsumer consumer, MessageQueue queue, long from, int length,
            PrintStream out) throws Exception {
        int read = 0;
        long next = from;
        while (read < length) {
            PullResult result = consumer.pull(queue, "*", next, 32);
            next = result.getNextBeginOffset();
            if (result.getPullStatus() != PullStatus.FOUND) {
                return;
            }
            for (MessageExt message : result.getMsgFoundList()) {
                if (read++ < length) {
                    out.println(message.getKeys() + " " + message.getTags() + " " + message.getProperty("sequence") + " "
                            + message.getProperty("eventId"));
                }
            }
        }
    }
}

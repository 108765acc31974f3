// The peer for embedded Tomcat 10: any WebSocket on /ws; a text that begins with `e` goes back, one that begins with `b`
// goes to all. It does nothing else and keeps nothing. Compiled and started by ../run; ../README.md has the flags.

import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.websocket.CloseReason;
import jakarta.websocket.DeploymentException;
import jakarta.websocket.Endpoint;
import jakarta.websocket.EndpointConfig;
import jakarta.websocket.MessageHandler;
import jakarta.websocket.Session;
import jakarta.websocket.server.ServerContainer;
import jakarta.websocket.server.ServerEndpointConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.websocket.server.WsSci;

public final class Peer extends Endpoint {
    /** What answers elsewhere than on /ws. */
    private static final class NotFound extends HttpServlet {
        private static final long serialVersionUID = 1;

        @Override
        protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
            response.sendError(HttpServletResponse.SC_NOT_FOUND);
        }
    }

    /** What a text that begins with neither `e` nor `b` is taken for. */
    private static char any = '-';

    /** Those who are there. */
    private static final Map<String, Receiver> ALL = new ConcurrentHashMap<>();

    /** Tomcat refuses a second message while one is being sent: what comes meanwhile waits here. */
    private static final class Receiver {
        private final Session session;
        private ArrayDeque<String> waiting;
        private boolean sending;

        Receiver(Session session) {
            this.session = session;
        }

        void send(String text) {
            synchronized (this) {
                if (sending) {
                    if (waiting == null) {
                        waiting = new ArrayDeque<>();
                    }
                    waiting.add(text);
                    return;
                }
                sending = true;
            }
            start(text);
        }

        private void start(String text) {
            try {
                session.getAsyncRemote().sendText(text, result -> next(result.isOK()));
            } catch (RuntimeException gone) {
                next(false);
            }
        }

        private void next(boolean more) {
            String text;
            synchronized (this) {
                text = more && waiting != null ? waiting.poll() : null;
                if (text == null) {
                    sending = false;
                    waiting = null;
                }
            }
            if (text != null) {
                start(text);
            }
        }
    }

    @Override
    public void onOpen(Session session, EndpointConfig config) {
        Receiver own = new Receiver(session);
        ALL.put(session.getId(), own);
        session.addMessageHandler(String.class, (MessageHandler.Whole<String>) text -> {
            char what = text.startsWith("e") || text.startsWith("b") ? text.charAt(0) : any;
            if (what == 'e') {
                own.send(text);
            } else if (what == 'b') {
                for (Receiver receiver : ALL.values()) {
                    receiver.send(text);
                }
            }
        });
    }

    @Override
    public void onClose(Session session, CloseReason reason) {
        ALL.remove(session.getId());
    }

    @Override
    public void onError(Session session, Throwable error) {
        ALL.remove(session.getId()); // a reset is the client's business
    }

    private static String flag(String[] flags, String name, String otherwise) {
        for (int at = 0; at + 1 < flags.length; at++) {
            if (flags[at].equals(name)) {
                return flags[at + 1];
            }
        }
        return otherwise;
    }

    public static void main(String[] flags) throws Exception {
        java.util.logging.LogManager.getLogManager().reset();
        any = flag(flags, "--any", "-").charAt(0);
        Path base = Path.of(flag(flags, "--base", "."));
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(base.toString());
        Connector connector = new Connector("org.apache.coyote.http11.Http11NioProtocol");
        connector.setProperty("address", flag(flags, "--host", "127.0.0.1"));
        connector.setPort(Integer.parseInt(flag(flags, "--port", "0")));
        // The defaults (8,192 connections, a queue of 100) would refuse what the others take.
        connector.setProperty("maxConnections", "200000");
        connector.setProperty("acceptCount", "4096");
        tomcat.getService().addConnector(connector);
        tomcat.setConnector(connector);

        Context context = tomcat.addContext("", Files.createDirectories(base.resolve("root")).toString());
        context.addServletContainerInitializer(new WsSci(), null);
        // A context without any servlet runs no filter, and the upgrade is a filter.
        Tomcat.addServlet(context, "none", new NotFound()).addMapping("/");
        context.addServletContainerInitializer((classes, servletContext) -> {
            ServerContainer sockets = (ServerContainer) servletContext.getAttribute(ServerContainer.class.getName());
            sockets.setDefaultMaxSessionIdleTimeout(0);
            try {
                sockets.addEndpoint(ServerEndpointConfig.Builder.create(Peer.class, "/ws").build());
            } catch (DeploymentException error) {
                throw new ServletException(error);
            }
        }, null);

        tomcat.start();
        if (connector.getLocalPort() <= 0) {
            System.err.println("tomcat: the port cannot be bound");
            System.exit(1);
        }
        System.out.println("ready " + connector.getLocalPort());
        tomcat.getServer().await();
    }
}

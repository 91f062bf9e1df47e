// SPDX-License-Identifier: Apache-2.0
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** The usual client of Java at https://localhost:PORT, which trusts LEAF alone: a GET, a POST of unknown length, a WebSocket. */
final class PageClient {
    private static final String SITE = "https://lgc.example";

    public static void main(String[] words) throws Exception {
        String at = "localhost:" + words[0];
        HttpClient client = HttpClient.newBuilder().sslContext(trusting(Path.of(words[1]))).build();
        BodyPublisher streamed = BodyPublishers.ofInputStream(() -> new ByteArrayInputStream("{}".getBytes(StandardCharsets.UTF_8)));
        for (HttpRequest.Builder asked : new HttpRequest.Builder[] {
            HttpRequest.newBuilder(URI.create("https://" + at + "/v1/info")),
            HttpRequest.newBuilder(URI.create("https://" + at + "/v1/certificates")).POST(streamed),
        }) {
            asked.headers("Origin", SITE, "X-Cpxd", "1", "Sec-Fetch-Site", "cross-site", "Content-Type", "application/json");
            HttpResponse<String> answer = client.send(asked.build(), BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        }
        CompletableFuture<String> told = new CompletableFuture<>();
        client.newWebSocketBuilder()
            .header("Origin", SITE)
            .subprotocols("cpxd.v1")
            .buildAsync(URI.create("wss://" + at + "/v1/events"), new WebSocket.Listener() {
                @Override
                public CompletionStage<?> onText(WebSocket socket, CharSequence text, boolean last) {
                    told.complete(text.toString());
                    return null;
                }
            }).join();
        System.out.println(told.get(20, TimeUnit.SECONDS));
        System.exit(0);
    }

    private static SSLContext trusting(Path leaf) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream file = Files.newInputStream(leaf)) {
            store.setCertificateEntry("localhost", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext made = SSLContext.getInstance("TLS");
        made.init(null, trust.getTrustManagers(), null);
        return made;
    }
}

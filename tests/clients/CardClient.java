// SPDX-License-Identifier: Apache-2.0
// SunPKCS11 as a Java program uses it. Arguments: configuration, PIN, then a command:
//   list                     aliases, and whether each has a key
//   sign ALIAS ALGORITHM…    one line for each: verified by Java's own provider, or why there is no signature
//   get ADDRESS CA VERSION   the page, after TLS client authentication
import java.io.FileInputStream;
import java.io.InputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.ProviderException;
import java.security.Security;
import java.security.Signature;
import java.security.cert.CertificateFactory;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.util.Collections;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.KeyStoreBuilderParameters;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public final class CardClient {
    public static void main(String[] words) throws Exception {
        Provider provider = Security.getProvider("SunPKCS11").configure(words[0]);
        Security.addProvider(provider);
        KeyStore store = KeyStore.getInstance("PKCS11", provider);
        store.load(null, words[1].toCharArray());
        switch (words[2]) {
            case "list" -> list(store);
            case "sign" -> {
                for (int word = 4; word < words.length; word++) {
                    System.out.println(words[word] + ": " + sign(store, provider, words[word], words[3]));
                }
            }
            case "get" -> get(store, words[3], words[4], words[5]);
            default -> throw new IllegalArgumentException(words[2]);
        }
    }

    private static void list(KeyStore store) throws Exception {
        for (String alias : Collections.list(store.aliases())) {
            System.out.println(alias + ": " + (store.isKeyEntry(alias) ? "key" : "certificate")
                + ", chain of " + (store.getCertificateChain(alias) == null ? 0 : store.getCertificateChain(alias).length));
        }
    }

    private static String sign(KeyStore store, Provider provider, String algorithm, String alias) throws Exception {
        byte[] data = "ordonnance".repeat(100).getBytes(StandardCharsets.US_ASCII);
        boolean pss = algorithm.endsWith("PSS");
        String hash = algorithm.replace("withRSAandMGF1PSS", "").replace("withRSA", "").replace("SHA", "SHA-");
        String name = pss ? "RSASSA-PSS" : algorithm;
        int length = MessageDigest.getInstance(hash).getDigestLength();
        PSSParameterSpec parameters = new PSSParameterSpec(hash, "MGF1", new MGF1ParameterSpec(hash), length, 1);

        byte[] signature;
        try {
            Signature signer = Signature.getInstance(name, provider);
            if (pss) signer.setParameter(parameters);
            signer.initSign((PrivateKey) store.getKey(alias, null));
            signer.update(data);
            signature = signer.sign();
        } catch (GeneralSecurityException | ProviderException reason) {
            return "refused, " + (reason.getCause() == null ? reason : reason.getCause()).getMessage();
        }
        Signature verifier = Signature.getInstance(name, "SunRsaSign");
        if (pss) verifier.setParameter(parameters);
        verifier.initVerify(store.getCertificate(alias).getPublicKey()); // whatever the certificate is for
        verifier.update(data);
        return verifier.verify(signature) ? "verified" : "WRONG";
    }

    private static void get(KeyStore store, String address, String authority, String version) throws Exception {
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        try (InputStream file = new FileInputStream(authority)) {
            trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        // not the default SunX509: it takes either certificate of the card, whatever it is for
        KeyManagerFactory keys = KeyManagerFactory.getInstance("NewSunX509");
        keys.init(new KeyStoreBuilderParameters(KeyStore.Builder.newInstance(store, new KeyStore.PasswordProtection(null))));
        SSLContext context = SSLContext.getInstance(version);
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        HttpsURLConnection connection = (HttpsURLConnection) new URL(address).openConnection();
        connection.setSSLSocketFactory(context.getSocketFactory());
        try (InputStream page = connection.getInputStream()) {
            System.out.print(new String(page.readAllBytes(), StandardCharsets.UTF_8));
        }
    }
}

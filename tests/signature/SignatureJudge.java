// SPDX-License-Identifier: Apache-2.0
// Signatures judged by Java: XML by the JDK (Apache Santuario), CMS and time stamps by Bouncy Castle, JWS by the JDK's RSA.
// SignatureJudge CA.pem; then on standard input a line a question, fields parted by tabs: what, file, and the detached document
// ("-" none). A line is answered by "yes", or by "no" and the reason.

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Security;
import java.security.Signature;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.xml.crypto.dsig.XMLSignatureFactory;
import javax.xml.crypto.dsig.XMLSignature;
import javax.xml.crypto.dsig.dom.DOMValidateContext;
import javax.xml.parsers.DocumentBuilderFactory;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.tsp.TimeStampToken;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

public final class SignatureJudge {
    private static final String DS = XMLSignature.XMLNS;
    private final List<X509Certificate> authorities = new ArrayList<>();
    private final Set<TrustAnchor> anchors = new HashSet<>();

    private SignatureJudge(String bundle) throws Exception {
        try (FileInputStream input = new FileInputStream(bundle)) {
            for (var each : CertificateFactory.getInstance("X.509").generateCertificates(input)) {
                X509Certificate authority = (X509Certificate) each;
                authorities.add(authority);
                if (authority.getSubjectX500Principal().equals(authority.getIssuerX500Principal())) {
                    anchors.add(new TrustAnchor(authority, null));
                }
            }
        }
    }

    private void trust(X509Certificate certificate) throws Exception {
        X509CertSelector target = new X509CertSelector();
        target.setCertificate(certificate);
        PKIXBuilderParameters parameters = new PKIXBuilderParameters(anchors, target);
        parameters.setRevocationEnabled(false);
        List<X509Certificate> known = new ArrayList<>(authorities);
        known.add(certificate);
        parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(known)));
        CertPathBuilder.getInstance("PKIX", "SUN").build(parameters);
    }

    private static X509Certificate certificate(byte[] der) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(der));
    }

    private boolean cms(byte[] der, byte[] beside) throws Exception {
        CMSSignedData signed = beside == null ? new CMSSignedData(der) : new CMSSignedData(new CMSProcessableByteArray(beside), der);
        for (SignerInformation signer : signed.getSignerInfos().getSigners()) {
            X509CertificateHolder holder = one(signed.getCertificates().getMatches(cast(signer.getSID())));
            X509Certificate certificate = new JcaX509CertificateConverter().setProvider("BC").getCertificate(holder);
            trust(certificate);
            if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(certificate))) {
                return false;
            }
        }
        return signed.getSignerInfos().size() == 1;
    }

    @SuppressWarnings("unchecked")
    private static org.bouncycastle.util.Selector<X509CertificateHolder> cast(Object selector) {
        return (org.bouncycastle.util.Selector<X509CertificateHolder>) selector;
    }

    private static X509CertificateHolder one(java.util.Collection<X509CertificateHolder> found) {
        Set<X509CertificateHolder> different = new HashSet<>(found);  // openssl ts encloses its own twice
        if (different.size() != 1) {
            throw new IllegalArgumentException("certificates of the signer: " + different.size());
        }
        return different.iterator().next();
    }

    private boolean stamp(byte[] der, byte[] content) throws Exception {
        TimeStampToken token = new TimeStampToken(new CMSSignedData(der));
        X509CertificateHolder holder = one(token.getCertificates().getMatches(cast(token.getSID())));
        trust(new JcaX509CertificateConverter().setProvider("BC").getCertificate(holder));
        token.validate(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(holder));
        byte[] digest = java.security.MessageDigest.getInstance("SHA-256").digest(content);
        return Arrays.equals(digest, token.getTimeStampInfo().getMessageImprintDigest());
    }

    private boolean xml(Path file) throws Exception {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        Document document = factory.newDocumentBuilder().parse(file.toFile());
        NodeList all = document.getElementsByTagName("*");
        for (int i = 0; i < all.getLength(); i++) {
            for (String name : List.of("Id", "ID")) {
                if (((Element) all.item(i)).hasAttribute(name)) {
                    ((Element) all.item(i)).setIdAttribute(name, true);
                }
            }
        }
        Element signature = (Element) document.getElementsByTagNameNS(DS, "Signature").item(0);
        String text = signature.getElementsByTagNameNS(DS, "X509Certificate").item(0).getTextContent();
        X509Certificate certificate = certificate(Base64.getMimeDecoder().decode(text));
        trust(certificate);
        DOMValidateContext context = new DOMValidateContext(certificate.getPublicKey(), signature);
        context.setBaseURI(file.toUri().toString());
        context.setProperty("org.jcp.xml.dsig.secureValidation", Boolean.FALSE);  // it forbids documents beside
        return XMLSignatureFactory.getInstance("DOM").unmarshalXMLSignature(context).validate(context);
    }

    private boolean jws(byte[] token) throws Exception {
        String[] parts = new String(token, StandardCharsets.US_ASCII).strip().split("\\.");
        String header = new String(Base64.getUrlDecoder().decode(parts[0]), StandardCharsets.UTF_8);
        X509Certificate certificate = certificate(Base64.getDecoder().decode(first(header, "\"x5c\":\\[\"([^\"]+)\"")));
        trust(certificate);
        Signature signature;
        if (first(header, "\"alg\":\"([^\"]+)\"").equals("PS256")) {
            signature = Signature.getInstance("RSASSA-PSS", "SunRsaSign");
            signature.setParameter(new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));
        } else {
            signature = Signature.getInstance("SHA256withRSA", "SunRsaSign");
        }
        signature.initVerify(certificate.getPublicKey());
        signature.update((parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII));
        return signature.verify(Base64.getUrlDecoder().decode(parts[2]));
    }

    private static String first(String text, String pattern) {
        Matcher matcher = Pattern.compile(pattern).matcher(text);
        if (!matcher.find()) {
            throw new IllegalArgumentException(pattern);
        }
        return matcher.group(1);
    }

    private boolean judge(String what, String file, String beside) throws Exception {
        byte[] content = Files.readAllBytes(Path.of(file));
        byte[] other = beside.equals("-") ? null : Files.readAllBytes(Path.of(beside));
        return switch (what) {
            case "cms" -> cms(content, other);
            case "stamp" -> stamp(content, other);
            case "xml" -> xml(Path.of(file));
            case "jws" -> jws(content);
            default -> throw new IllegalArgumentException(what);
        };
    }

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        SignatureJudge judge = new SignatureJudge(arguments[0]);
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = questions.readLine()) != null; ) {
            String[] words = line.split("\t");
            String answer;
            try {
                answer = judge.judge(words[0], words[1], words[2]) ? "yes" : "no wrong";
            } catch (Exception error) {
                answer = "no " + String.valueOf(error).replaceAll("\\s+", " ");
            }
            System.out.println(answer);
        }
    }
}

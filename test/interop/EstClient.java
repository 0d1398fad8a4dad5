/*
 * Bouncy Castle's EST client (org.bouncycastle.est) against our desk, one step a word on the command line. Run by
 * est-bouncy-castle.test.ts: java -cp bcpkix.jar:bcprov.jar:bcutil.jar EstClient.java HOST:PORT FOLDER STEP...
 *
 *   cacerts             without trust yet (RFC 7030 §4.1.1); keeps what it got in FOLDER/ca.pem
 *   csrattrs[:label]    what kind of key to bring
 *   enroll:label:user:password:name
 *   reenroll:name:name2 with the certificate of `name`; the new one is kept as `name2`
 *   bootstrap:label:name with the certificate in FOLDER/name.p12
 *
 * Each step prints one line: what came of it.
 */

import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.FileReader;
import java.io.FileWriter;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import javax.net.ssl.KeyManagerFactory;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.est.CACertsResponse;
import org.bouncycastle.est.CSRRequestResponse;
import org.bouncycastle.est.ESTAuth;
import org.bouncycastle.est.ESTException;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseDefaultHostnameAuthorizer;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

public class EstClient {
  static final char[] PASSWORD = "interop".toCharArray();
  static String host;
  static String folder;

  public static void main(String[] args) throws Exception {
    java.security.Security.addProvider(new BouncyCastleProvider());
    host = args[0];
    folder = args[1];
    for (int at = 2; at < args.length; at += 1) {
      String[] words = args[at].split(":", -1);
      try {
        System.out.println(words[0] + ": " + step(words));
      } catch (ESTException error) {
        if (error.getStatusCode() == 0) throw error;
        System.out.println(words[0] + ": refused " + error.getStatusCode());
      }
    }
  }

  static String step(String[] words) throws Exception {
    switch (words[0]) {
      case "cacerts":
        return cacerts();
      case "csrattrs":
        return csrattrs(words.length > 1 ? words[1] : "");
      case "enroll":
        return enroll(words[1], words[2], words[3], words[4]);
      case "reenroll":
        return reenroll(words[1], words[2]);
      case "bootstrap":
        return bootstrap(words[1], words[2]);
      default:
        throw new IllegalArgumentException(words[0]);
    }
  }

  static JsseESTServiceBuilder trusting(Collection<X509CertificateHolder> roots) throws Exception {
    Set<TrustAnchor> anchors = new HashSet<>();
    for (X509CertificateHolder root : roots)
      anchors.add(new TrustAnchor(new JcaX509CertificateConverter().getCertificate(root), null));
    return new JsseESTServiceBuilder(host, JcaJceUtils.getCertPathTrustManager(anchors, null))
        .withHostNameAuthorizer(new JsseDefaultHostnameAuthorizer(Collections.emptySet()))
        .withTimeout(15000);
  }

  static JsseESTServiceBuilder service(String label) throws Exception {
    JsseESTServiceBuilder builder = trusting(readRoots());
    if (!label.isEmpty()) builder.withLabel(label);
    return builder;
  }

  static String cacerts() throws Exception {
    ESTService est = new JsseESTServiceBuilder(host, JcaJceUtils.getTrustAllTrustManager()).withTimeout(15000).build();
    CACertsResponse answer = est.getCACerts();
    List<String> names = new ArrayList<>();
    try (JcaPEMWriter pem = new JcaPEMWriter(new FileWriter(folder + "/ca.pem"))) {
      for (X509CertificateHolder holder : ESTService.storeToArray(answer.getCertificateStore())) {
        names.add(holder.getSubject().toString());
        pem.writeObject(holder);
      }
    }
    return (answer.isTrusted() ? "trusted " : "not trusted yet ") + names;
  }

  /** Of what cacerts gave: the self-signed ones. */
  static List<X509CertificateHolder> readRoots() throws Exception {
    List<X509CertificateHolder> roots = new ArrayList<>();
    try (PEMParser pem = new PEMParser(new FileReader(folder + "/ca.pem"))) {
      for (Object next = pem.readObject(); next != null; next = pem.readObject()) {
        X509CertificateHolder holder = (X509CertificateHolder) next;
        if (holder.getSubject().equals(holder.getIssuer())) roots.add(holder);
      }
    }
    return roots;
  }

  static String csrattrs(String label) throws Exception {
    CSRRequestResponse answer = service(label).build().getCSRAttributes();
    if (!answer.hasAttributesResponse()) return "none";
    List<String> asked = new ArrayList<>();
    for (Object oid : answer.getAttributesResponse().getRequirements())
      asked.add(((ASN1ObjectIdentifier) oid).getId());
    Collections.sort(asked);
    return asked.toString();
  }

  static KeyPair newKey() throws Exception {
    KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
    generator.initialize(new ECGenParameterSpec("secp256r1"));
    return generator.generateKeyPair();
  }

  static PKCS10CertificationRequest request(KeyPair key, String name) throws Exception {
    return new JcaPKCS10CertificationRequestBuilder(new X500Name(name), key.getPublic())
        .build(new JcaContentSignerBuilder("SHA256withECDSA").build(key.getPrivate()));
  }

  static String keep(EnrollmentResponse answer, KeyPair key, String name) throws Exception {
    if (!answer.isCompleted()) {
      long seconds = Math.round((answer.getNotBefore() - System.currentTimeMillis()) / 1000.0);
      return "waiting " + (seconds > 0 && answer.getRequestToRetry() != null);
    }
    X509CertificateHolder[] issued = ESTService.storeToArray(answer.getStore());
    X509Certificate certificate = new JcaX509CertificateConverter().getCertificate(issued[0]);
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    // with what came by cacerts, so that the chain is whole
    List<Certificate> chain = new ArrayList<>();
    chain.add(certificate);
    try (PEMParser pem = new PEMParser(new FileReader(folder + "/ca.pem"))) {
      for (Object next = pem.readObject(); next != null; next = pem.readObject()) {
        X509CertificateHolder holder = (X509CertificateHolder) next;
        if (holder.getSubject().equals(issued[0].getIssuer()))
          chain.add(new JcaX509CertificateConverter().getCertificate(holder));
      }
    }
    store.setKeyEntry("key", key.getPrivate(), PASSWORD, chain.toArray(new Certificate[0]));
    try (FileOutputStream out = new FileOutputStream(folder + "/" + name + ".p12")) {
      store.store(out, PASSWORD);
    }
    try (JcaPEMWriter pem = new JcaPEMWriter(new FileWriter(folder + "/" + name + ".pem"))) {
      pem.writeObject(certificate);
    }
    return issued.length + " " + certificate.getSubjectX500Principal();
  }

  static String enroll(String label, String user, String password, String name) throws Exception {
    KeyPair key = newKey();
    ESTAuth auth = new JcaHttpAuthBuilder("sallyport", user, password.toCharArray()).setProvider("BC").build();
    return keep(service(label).build().simpleEnroll(false, request(key, "CN=" + name), auth), key, name);
  }

  static KeyStore load(String name) throws Exception {
    KeyStore store = KeyStore.getInstance("PKCS12");
    try (FileInputStream in = new FileInputStream(folder + "/" + name + ".p12")) {
      store.load(in, PASSWORD);
    }
    return store;
  }

  static JsseESTServiceBuilder withCertificate(String label, KeyStore store) throws Exception {
    KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
    keys.init(store, PASSWORD);
    return service(label).withKeyManagers(keys.getKeyManagers());
  }

  static String reenroll(String name, String next) throws Exception {
    KeyStore store = load(name);
    String subject =
        ((X509Certificate) store.getCertificate(store.aliases().nextElement())).getSubjectX500Principal().getName();
    KeyPair key = newKey();
    ESTService est = withCertificate("", store).build();
    return keep(est.simpleEnroll(true, request(key, subject), null), key, next);
  }

  static String bootstrap(String label, String name) throws Exception {
    KeyPair key = newKey();
    ESTService est = withCertificate(label, load(name)).build();
    return keep(est.simpleEnroll(false, request(key, "CN="), null), key, name + "-own");
  }
}

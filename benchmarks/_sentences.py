"""Sentences for synthetic speech: ten in English for each voice of flite, eight in each other language.

The English ones are of the IEEE's list of Harvard sentences (1969). The others were written for this
benchmark, before any of them was aligned.
"""

ENGLISH = """
the birch canoe slid on the smooth planks
glue the sheet to the dark blue background
it is easy to tell the depth of a well
these days a chicken leg is a rare dish
rice is often served in round bowls
the juice of lemons makes fine punch
the box was thrown beside the parked truck
the hogs were fed chopped corn and garbage
four hours of steady work faced us
a large size in stockings is hard to sell
the boy was there when the sun rose
a rod is used to catch pink salmon
the source of the huge river is the clear spring
kick the ball straight and follow through
help the woman get back to her feet
a pot of tea helps to pass the evening
smoky fires lack flame and heat
the soft cushion broke the man's fall
the salt breeze came across from the sea
the girl at the booth sold fifty bonds
the small pup gnawed a hole in the sock
the fish twisted and turned on the bent hook
press the pants and sew a button on the vest
the swan dive was far short of perfect
the beauty of the view stunned the young boy
two blue fish swam in the tank
her purse was full of useless trash
the colt reared and threw the tall rider
it snowed rained and hailed the same morning
read verse out loud for pleasure
hoist the load to your left shoulder
take the winding path to reach the lake
note closely the size of the gas tank
wipe the grease off his dirty face
mend the coat before you go out
the wrist was badly strained and hung limp
the stray cat gave birth to kittens
the young girl gave no clear response
the meal was cooked before the bell rang
what joy there is in living
""".split("\n")[1:-1]

LANGUAGES = {
    "es": """
La biblioteca abre todos los días a las nueve.
Mi hermana vive en una casa pequeña cerca del río.
Ayer compramos pan, queso y una botella de leche.
El tren de la mañana llegó con mucho retraso.
Los niños juegan en el parque después de la escuela.
Nadie sabía quién había cerrado la ventana.
En invierno hace frío y anochece muy temprano.
Tengo que escribir una carta a mis abuelos.""",
    "de": """
Die Bibliothek öffnet jeden Tag um neun Uhr.
Meine Schwester wohnt in einem kleinen Haus am Fluss.
Gestern kauften wir Brot, Käse und eine Flasche Milch.
Der Zug am Morgen kam mit großer Verspätung an.
Die Kinder spielen nach der Schule im Garten.
Niemand wusste, wer das Fenster geschlossen hatte.
Im Winter ist es kalt und es wird früh dunkel.
Ich muss meinen Großeltern einen Brief schreiben.""",
    "fr": """
La bibliothèque ouvre tous les jours à neuf heures.
Ma sœur habite une petite maison près de la rivière.
Hier nous avons acheté du pain, du fromage et du lait.
Le train du matin est arrivé avec beaucoup de retard.
Les enfants jouent dans le jardin après la classe.
Personne ne savait qui avait fermé la fenêtre.
Quand il neige, toute la ville devient calme.
Je dois écrire une longue lettre à mes parents.""",
    "it": """
La biblioteca apre tutti i giorni alle nove.
Mia sorella vive in una piccola casa vicino al fiume.
Ieri abbiamo comprato pane, formaggio e una bottiglia di latte.
Il treno del mattino arrivò con molto ritardo.
I bambini giocano nel parco dopo la scuola.
Nessuno sapeva chi aveva chiuso la finestra.
In inverno fa freddo e diventa buio presto.
Devo scrivere una lettera ai miei nonni.""",
    "pt": """
A biblioteca abre todos os dias às nove horas.
Minha irmã mora numa casa pequena perto do rio.
Ontem compramos pão, queijo e uma garrafa de leite.
O trem da manhã chegou com muito atraso.
As crianças brincam no parque depois da escola.
Ninguém sabia quem tinha fechado a janela.
No inverno faz frio e escurece muito cedo.
Tenho que escrever uma carta para meus avós.""",
    "nl": """
De bibliotheek gaat elke dag om negen uur open.
Mijn zus woont in een klein huis bij de rivier.
Gisteren kochten wij brood, kaas en een fles melk.
De trein van vanmorgen kwam met veel vertraging aan.
De kinderen spelen na school in het park.
Niemand wist wie het raam had gesloten.
In de winter is het koud en wordt het vroeg donker.
Ik moet een brief aan mijn grootouders schrijven.""",
    "ru": """
Библиотека открывается каждый день в девять часов.
Моя сестра живёт в маленьком доме у реки.
Вчера мы купили хлеб, сыр и бутылку молока.
Утренний поезд пришёл с большим опозданием.
Дети играют в парке после школы.
Никто не знал, кто закрыл окно.
Зимой холодно и рано темнеет.
Мне нужно написать письмо бабушке.""",
    "uk": """
Бібліотека відчиняється щодня о дев'ятій годині.
Моя сестра живе в маленькому будинку біля річки.
Учора ми купили хліб, сир і пляшку молока.
Ранковий потяг прийшов із великим запізненням.
Діти граються в парку після школи.
Ніхто не знав, хто зачинив вікно.
Узимку холодно і рано темніє.
Мені треба написати листа бабусі.""",
    "pl": """
Biblioteka otwiera się codziennie o dziewiątej.
Moja siostra mieszka w małym domu nad rzeką.
Wczoraj kupiliśmy chleb, ser i butelkę mleka.
Poranny pociąg przyjechał z dużym opóźnieniem.
Dzieci bawią się w parku po szkole.
Nikt nie wiedział, kto zamknął okno.
Zimą jest zimno i wcześnie robi się ciemno.
Muszę napisać list do moich dziadków.""",
    "cs": """
Knihovna se otevírá každý den v devět hodin.
Moje sestra bydlí v malém domě u řeky.
Včera jsme koupili chléb, sýr a láhev mléka.
Ranní vlak přijel s velkým zpožděním.
Děti si po škole hrají v parku.
Nikdo nevěděl, kdo zavřel okno.
V zimě je zima a brzy se stmívá.
Musím napsat dopis svým prarodičům.""",
    "tr": """
Kütüphane her gün saat dokuzda açılır.
Kız kardeşim nehrin yanında küçük bir evde oturuyor.
Dün ekmek, peynir ve bir şişe süt aldık.
Sabah treni çok geç geldi.
Çocuklar okuldan sonra parkta oynuyor.
Pencereyi kimin kapattığını kimse bilmiyordu.
Kışın hava soğuk olur ve erken kararır.
Büyükanneme bir mektup yazmam gerekiyor.""",
    "fi": """
Kirjasto avataan joka päivä kello yhdeksän.
Siskoni asuu pienessä talossa joen rannalla.
Eilen ostimme leipää, juustoa ja pullon maitoa.
Aamun juna tuli paljon myöhässä.
Lapset leikkivät puistossa koulun jälkeen.
Kukaan ei tiennyt, kuka sulki ikkunan.
Talvella on kylmä ja pimeä tulee aikaisin.
Minun täytyy kirjoittaa kirje isovanhemmille.""",
    "sv": """
Biblioteket öppnar varje dag klockan nio.
Min syster bor i ett litet hus vid floden.
I går köpte vi bröd, ost och en flaska mjölk.
Morgonens tåg kom med stor försening.
Barnen leker i parken efter skolan.
Ingen visste vem som hade stängt fönstret.
På vintern är det kallt och det blir tidigt mörkt.
Jag måste skriva ett brev till mina morföräldrar.""",
    "el": """
Η βιβλιοθήκη ανοίγει κάθε μέρα στις εννέα.
Η αδελφή μου μένει σε ένα μικρό σπίτι κοντά στο ποτάμι.
Χθες αγοράσαμε ψωμί, τυρί και ένα μπουκάλι γάλα.
Το πρωινό τρένο έφτασε με μεγάλη καθυστέρηση.
Τα παιδιά παίζουν στο πάρκο μετά το σχολείο.
Κανείς δεν ήξερε ποιος έκλεισε το παράθυρο.
Τον χειμώνα κάνει κρύο και νυχτώνει νωρίς.
Πρέπει να γράψω ένα γράμμα στους παππούδες μου.""",
    "hu": """
A könyvtár minden nap kilenc órakor nyit.
A nővérem egy kis házban lakik a folyó mellett.
Tegnap kenyeret, sajtot és egy üveg tejet vettünk.
A reggeli vonat nagy késéssel érkezett.
A gyerekek iskola után a parkban játszanak.
Senki sem tudta, ki csukta be az ablakot.
Télen hideg van és korán sötétedik.
Levelet kell írnom a nagyszüleimnek.""",
    "ro": """
Biblioteca se deschide în fiecare zi la ora nouă.
Sora mea locuiește într-o casă mică lângă râu.
Ieri am cumpărat pâine, brânză și o sticlă de lapte.
Trenul de dimineață a sosit cu mare întârziere.
Copiii se joacă în parc după școală.
Nimeni nu știa cine a închis fereastra.
Iarna este frig și se întunecă devreme.
Trebuie să scriu o scrisoare bunicilor mei.""",
    "id": """
Perpustakaan buka setiap hari pada pukul sembilan.
Adik saya tinggal di rumah kecil dekat sungai.
Kemarin kami membeli roti, keju dan sebotol susu.
Kereta pagi datang sangat terlambat.
Anak-anak bermain di taman setelah sekolah.
Tidak ada yang tahu siapa menutup jendela.
Pada musim hujan jalan sering banjir.
Saya harus menulis surat kepada kakek saya.""",
    "vi": """
Thư viện mở cửa mỗi ngày lúc chín giờ.
Chị tôi sống trong một ngôi nhà nhỏ gần sông.
Hôm qua chúng tôi mua bánh mì và sữa.
Chuyến tàu buổi sáng đến rất muộn.
Trẻ em chơi trong công viên sau giờ học.
Không ai biết người nào đã đóng cửa sổ.
Mùa đông trời lạnh và tối rất sớm.
Tôi phải viết một lá thư cho ông bà.""",
    "hi": """
पुस्तकालय हर दिन नौ बजे खुलता है।
मेरी बहन नदी के पास एक छोटे घर में रहती है।
कल हमने रोटी, पनीर और दूध खरीदा।
सुबह की गाड़ी बहुत देर से आई।
बच्चे स्कूल के बाद बाग में खेलते हैं।
किसी को पता नहीं था कि खिड़की किसने बंद की।
सर्दियों में ठंड होती है और जल्दी अंधेरा होता है।
मुझे अपने दादा को एक पत्र लिखना है।""",
    "ar": """
تفتح المكتبة كل يوم في الساعة التاسعة.
تسكن أختي في بيت صغير قرب النهر.
أمس اشترينا الخبز والجبن وزجاجة من الحليب.
وصل قطار الصباح متأخرا جدا.
يلعب الأطفال في الحديقة بعد المدرسة.
لا أحد يعرف من أغلق النافذة.
في الشتاء يكون الجو باردا.
يجب أن أكتب رسالة إلى جدي.""",
    "ko": """
도서관은 매일 아침 아홉 시에 문을 엽니다.
제 동생은 강가에 있는 작은 집에 삽니다.
어제 우리는 빵과 치즈와 우유를 샀습니다.
아침 기차가 아주 늦게 도착했습니다.
아이들은 학교가 끝나면 공원에서 놉니다.
누가 창문을 닫았는지 아무도 몰랐습니다.
겨울에는 날씨가 춥고 일찍 어두워집니다.
할머니께 긴 편지를 써야 합니다.""",
    "ja": """
としょかん は まいにち くじ に あきます
あね は かわ の ちかく の いえ に すんで います
きのう パン と チーズ と ぎゅうにゅう を かいました
あさ の でんしゃ は とても おくれました
こども たち は こうえん で あそんで います
だれ が まど を しめた か わかりません
ふゆ は さむくて はやく くらく なります
そふ に ながい てがみ を かきます""",
}


def sentences(language: str) -> list[list[str]]:
    "Sentences as lists of words"
    return [line.split() for line in LANGUAGES[language].strip().split("\n")]

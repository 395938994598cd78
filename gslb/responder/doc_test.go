package responder

// What a correct name server does, and the tests that show it, all on bytes and through Respond.
//
//	NXDOMAIN and NODATA have the SOA              TestRFC2308NXDomainHasTheSOA, TestRFC2308NoDataHasTheSOA,
//	                                              TestRFC2308NegativeAfterCNAME
//	  TTL is the lesser of SOA TTL and minimum    TestRFC2308NegativeTTLIsTheLesser
//	  AAAA of an A-only name is NODATA            TestRFC2308AAAAOfAnAOnlyNameIsNoData
//	  a fetched SOA counts down                   TestRFC2308FetchedSOACountsDown, TestFetchedSOAIsTheAnswerAtTheApex
//	empty non-terminals are NOERROR               TestRFC8020EmptyNonTerminalIsNoError
//	the closest encloser blocks wildcards above   TestRFC4592Wildcard,
//	                                              TestRFC4592ClosestEncloserBlocksShallowerWildcard,
//	                                              TestRFC4592WildcardOfRules
//	CNAME chased, loops bounded                   TestRFC1034CNAMEIsChased, TestCNAMEByRules, TestCNAMELoopsAreBounded
//	No record twice in a response                 TestRFC2181NoRecordTwice
//	DNAME                                         TestRFC6672DNAME, TestRFC6672YXDomainWhenTheNameGetsTooLong
//	AA on own data, not on referrals              TestAAOnOwnDataOnly, TestReferralsHaveGlueAndNoAA,
//	                                              TestFlagsOfTheQueryDoNotComeBack
//	glue                                          TestRFC9471ReferralWithoutAllGlueIsTruncated,
//	                                              TestRFC9471SiblingGlueIsLeftOutWithoutTC
//	a foreign name is REFUSED and empty           TestForeignNameIsRefusedAndEmpty, TestNoMatchPolicies
//	the question comes back byte-identical        TestQuestionComesBackByteIdentical,
//	                                              TestQuestionWithAnyByteComesBackByteIdentical, TestLongestName
//	BADVERS, even with options                    TestRFC6891BadVersEvenWithOptions
//	no OPT unless asked                           TestRFC6891NoOPTUnlessAsked, TestRFC6891MalformedOPTIsFormErr,
//	                                              TestRFC3225DOComesBack
//	unknown options are ignored                   TestRFC6891UnknownOptionsAndFlagsAreIgnored, TestOptionsAreInOrder
//	UDP size cap                                  TestUDPSizeIsTheLesserOfBoth
//	truncation: whole RRsets, TC, OPT kept        TestTruncationDropsWholeRRsets
//	ISC genreport, 32 probes                      TestGenreport
//	client subnet: used where a rule allows it    TestRFC7871SubnetSelectsWhereTheRuleAllowsIt
//	  family, source and address come back        TestRFC7871EchoesFamilySourceAndAddress
//	  scope 0 on negative and static answers      TestRFC7871ScopeIsZeroOnNegativeAndStaticAnswers
//	  bad family or length is FORMERR             TestRFC7871BadFamilyOrLengthIsFormErr
//	ANY is minimal                                TestRFC8482ANYIsMinimal
//	TCP keepalive option                          TestRFC7828KeepaliveOverTCP
//	cookies, shared and rolled over               TestRFC7873Cookies, TestRFC7873MalformedCookieIsFormErr,
//	                                              TestRFC7873OnlyTheFirstCookieCounts, TestRFC7873QueryForACookieAlone
//	TC slip                                       TestSlipIsTruncatedAndEmpty, TestKindsAndLimits
//	NOTIFY and UPDATE are NOTAUTH or REFUSED      TestNotifyAndUpdateAreNotAuthOrRefused
//	other opcodes are NOTIMP                      TestOtherOpcodesAreNotImplemented
//	QDCOUNT > 1 is FORMERR                        TestRFC9619OneQuestion
//	AXFR and IXFR are REFUSED                     TestTransfersAreRefused, TestRFC8945UnknownKeyIsBadKey
//	CH TXT                                        TestRFC4892ChaosTXT, TestOtherClassesAreRefused
//	NSID                                          TestRFC5001NSID
//	unknown types                                 TestRFC3597UnknownTypes, TestMetaTypes
//	record types                                  TestRecordTypes
//	SVCB and HTTPS hints follow live health       TestSVCBAndHTTPSHintsFollowHealth
//	a health flip is in the next answer           TestHealthFlipIsInTheNextAnswer, TestPoliciesWhenAllIsDown
//	TTLs never exceed the rule's                  TestTTLsNeverExceedTheRules
//	hostile packets                               TestMalformedBodyIsFormErr, TestNothingIsSaidToWhatIsNoQuery,
//	                                              TestHostilePackets, FuzzRespond

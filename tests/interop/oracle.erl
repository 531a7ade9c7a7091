%% Asks a running ejabberd for verdicts: a file of expressions, evaluated in its machine.
%% Reads COUCOU_ORACLE/questions (a rule, a host, a JID, an address a line), writes answers.

Dir = os:getenv("COUCOU_ORACLE"),

%% Groups for the rules that name one.
lists:foreach(
  fun({Host, User}) ->
          mod_shared_roster:create_group(Host, <<"staff">>, [{name, <<"staff">>}]),
          mod_shared_roster:add_user_to_group(Host, {User, Host}, <<"staff">>)
  end,
  [{<<"geocoucou.im">>, <<"carol">>}, {<<"public.geocoucou.im">>, <<"claire">>}]),

Verdict =
    fun(Rule, Host, Jid, Address) ->
            User = case Jid of
                       <<"-">> -> #{};
                       _ -> #{usr => jid:tolower(jid:decode(Jid))}
                   end,
            Facts = case Address of
                        <<"-">> -> User;
                        _ ->
                            {ok, IP} = inet:parse_address(binary_to_list(Address)),
                            User#{ip => IP}
                    end,
            acl:match_rule(Host, binary_to_atom(Rule, utf8), Facts)
    end,

{ok, Questions} = file:read_file(filename:join(Dir, "questions")),
Answers =
    lists:map(
      fun(Line) ->
              [Rule, Host, Jid, Address] = binary:split(Line, <<" ">>, [global]),
              atom_to_list(Verdict(Rule, Host, Jid, Address)) ++ "\n"
      end,
      binary:split(Questions, <<"\n">>, [global, trim_all])),
ok = file:write_file(filename:join(Dir, "answers.new"), Answers),
ok = file:rename(filename:join(Dir, "answers.new"), filename:join(Dir, "answers")).

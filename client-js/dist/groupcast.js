// Groupcast client 0.1.0, MIT OR Apache-2.0. Built from client-js/src; do not edit.
var u=class{#e;attempt=0;constructor(t){this.#e={min:250,base:1e3,max:2e4,stableAfter:1e4,...t}}next(t,e=0){let{min:s,base:i,max:n}=this.#e,r=Math.min(n,i*2**this.
attempt),c=Math.max(e,this.attempt===0?t??r:r);return this.attempt+=1,Math.round(s+Math.random()*c)}stood(t){let e=t>=this.#e.stableAfter;return e&&(this.attempt=
0),e}reset(){this.attempt=0}};var h=class o extends Error{constructor(t,e,s=!1){super(e),this.name="GroupcastError",this.code=t,this.retry=s}static from({code:t,message:e,retry:s}){return new o(
t,e,s)}},a=class extends h{constructor(t="not signed in"){super("unauthorized",t),this.name="UnauthorizedError"}};var N="groupcast.v1.json",I="groupcast-js/0.1.0";var $=[1003,1007,1008,1009];function B(o){return!(o>=4400&&o<4500)&&!$.includes(o)}function R(o){try{let{reason:t,retry_ms:e}=JSON.parse(o);return{reason:typeof t==
"string"?t:o,retryMs:Number.isFinite(e)&&e>=0?e:void 0}}catch{return{reason:o,retryMs:void 0}}}var q=new TextEncoder;function l(o){return q.encode(o).length}function L(o,t){
let e=t-64,s=[],i=1/0;for(let n of o){let r=l(JSON.stringify(n))+1;(i+r>e||s.at(-1).length===1024)&&(s.push([]),i=0),s.at(-1).push(n),i+=r}return s}function z(o){
let t=new URL(o,globalThis.location?.href);return t.protocol=t.protocol.replace(/^http/,"ws"),t.hash="",t.href}var G=2**31-1,M=()=>5e3+Math.random()*1e4,m=class{#e;#s;#t;constructor(t,e){this.#e=t,this.#s=e}accepted(t){this.#i(this.#e.accepted(t))}stop(){clearTimeout(this.#t)}async now(){
if(!this.#e.renewable){let e="the token runs out and there is no getToken; call setToken";return this.#s.report(new h("unauthorized",e))}let t=this.#s.session();
try{let e=await this.#e.renew("expiring");this.#s.session()===t&&this.#s.live()&&this.tell(e)}catch(e){if(this.#s.session()!==t)return;if(e instanceof a)return this.#s.
signedOut(e);this.#i(M()),this.#s.report(e)}}tell(t){this.#s.ask({type:"auth",token:t},e=>{e.type==="error"?this.#s.report(h.from(e)):this.accepted(e.expires_in)})}#i(t){
clearTimeout(this.#t),!(t===void 0||!this.#e.renewable)&&(this.#t=setTimeout(()=>this.now(),Math.min(t,G)))}};var C=2500,p=class{#e;#s;#t;#i;#n=0;#o;welcome=null;constructor(t,e,s,i,n){let r=new t(e,N);this.#e=r,this.#s=n,this.#i=Date.now()+i,this.#c(),r.onopen=()=>this.
send(s()),r.onmessage=({data:c})=>this.#r(c),r.onclose=({code:c,reason:d})=>this.#l(c,d),r.onerror=()=>{}}get maxBytes(){return this.welcome?.max_bytes??16384}send(t){
return!this.check()||this.#e.readyState!==1?!1:(this.#e.send(typeof t=="string"?t:JSON.stringify(t)),!0)}check(){return this.#s?Date.now()<=this.#i?!0:(this.#l(
1006,"nothing was heard for too long",!0),!1):!1}probe(){!this.check()||!this.welcome||Date.now()-this.#n<=this.welcome.ping_ms||(this.#i=Math.min(this.#i,Date.
now()+C),this.#c())}end(t=1e3){this.#a();try{this.#e.close(t)}catch{this.#e.close()}}#r(t){if(!this.#s)return;let e=Date.now();this.#n=e,this.welcome&&(this.#i=
e+this.welcome.ping_ms+1e4);let s;try{s=JSON.parse(t)}catch{return}typeof s?.type=="string"&&(s.type==="ping"?this.send({type:"pong"}):this.welcome?this.#s.frame(
s):s.type==="welcome"&&this.#h(s,e))}#h(t,e){this.welcome=t,this.#o=e,this.#i=e+t.ping_ms+1e4,this.#c(),this.#s.welcome(t)}#c(){clearTimeout(this.#t);let t=Math.
max(0,this.#i-Date.now())+1;this.#t=setTimeout(()=>this.check()&&this.#c(),t)}#a(){let t=this.#s;return this.#s=null,clearTimeout(this.#t),this.#e.onopen=this.#e.
onmessage=this.#e.onclose=null,t}#l(t,e,s=!1){let i=this.#a();if(!i)return;s&&this.#e.close();let n=this.#o===void 0?0:Date.now()-this.#o;i.lost({code:t,...R(e),
silent:s,stoodMs:n})}};var J=1e4,y=class{#e;#s;#t=1/0;#i=null;#n=!1;#o="initial";constructor({token:t,getToken:e}){this.#s=t??void 0,this.#e=e}get renewable(){return typeof this.#e=="\
function"}async current(){return!this.renewable||this.#s&&Date.now()<this.#t?this.#s:this.renew(this.#s?"expiring":this.#o)}renew(t){return this.#i??=this.#r(t),
this.#i.promise}#r(t){let e=new AbortController,s={controller:e};return s.promise=this.#h(t,e).then(i=>(this.#i===s&&this.#c(i),i),i=>{throw this.#i===s&&(this.#i=
null),i}),s}async#h(t,e){let{signal:s}=e,i,n=new Promise((r,c)=>{s.addEventListener("abort",()=>c(s.reason)),i=setTimeout(()=>{e.abort(new h("timeout","getToken\
 took too long",!0))},J)});try{let r=await Promise.race([this.#e({reason:t,signal:s}),n]);if(!r)throw new a("getToken gave no token");return String(r)}finally{clearTimeout(
i)}}#c(t){this.#i=null,this.#s=t??void 0,this.#t=1/0,this.#o="expiring"}set(t){this.cancel(),this.#c(t),this.#n=!1}accepted(t){if(t===void 0){this.#t=1/0;return}
let e=t*1e3*(.8+(Math.random()-.5)*.16);return this.#t=Date.now()+e,e}refused(){return this.#s=void 0,this.#o="rejected",!this.renewable||this.#n?!1:(this.#n=!0,
!0)}stable(){this.#n=!1}cancel(){this.#i?.controller.abort(new h("closed","the client was closed")),this.#i=null}};function P(o){let{window:t,document:e}=globalThis;if(!t?.addEventListener||!e)return()=>{};let s=()=>{e.visibilityState!=="hidden"&&o()},i=[[t,"online"],[t,"pag\
eshow"],[e,"visibilitychange"],[e,"resume"]];for(let[n,r]of i)n.addEventListener(r,s);return()=>{for(let[n,r]of i)n.removeEventListener(r,s)}}var W=2e3,K=300,b=class{state="idle";#e;#s;#t;#i;#n;#o;#r=null;#h=0;#c=0;#a=new Map;#l;#d=-1/0;#w=()=>{};#u=null;constructor(t,e,s){this.#e=t,this.#s=e,this.#t=
s,this.#i=new y(e),this.#n=new m(this.#i,{session:()=>this.#r,live:()=>this.live(),ask:(i,n)=>this.ask(i,n),report:i=>s.emit("error",i),signedOut:i=>this.#v(i)}),
this.#o=new u(e.backoff)}get welcome(){return this.#r?.welcome}get maxBytes(){return this.#r?.maxBytes??16384}live(){return!!this.welcome&&this.#r.check()}send(t){
return this.#r?.send(t)??!1}nextId(){return this.#c+=1,this.#c}ask(t,e){let s=this.nextId();this.#a.set(s,e),this.send({...t,id:s})}connect(){if(this.state!=="i\
dle"&&this.state!=="closed")return this.#u.promise;this.#u=X(),this.#w=P(()=>this.wake()),this.#o.reset(),this.#i.stable(),this.#t.starting();let{promise:t}=this.#u;
return this.#g(),t}connectSoon(){if(this.state!=="idle"||!this.#m())return;let t=this.#h;queueMicrotask(()=>this.#h===t&&this.connect())}close(t){this.#r?.end(t),
this.#y(t,new h("closed","closed by the application"))}setToken(t){this.#i.set(t),t&&this.live()&&this.#n.tell(t)}wake(){if(this.#r)return this.#r.probe();let t=Date.
now();this.state!=="waiting"||t-this.#d<W||(this.#d=t,this.#p(Math.random()*K))}#m(){return this.#s.WebSocket??globalThis.WebSocket}#f(t){let e=this.state;return this.
state=t,this.#h+=1,()=>e!==t&&this.#t.emit("state",{state:t,previous:e})}#p(t){clearTimeout(this.#l),this.#l=setTimeout(()=>this.#g(),t)}async#g(){let t=this.#f(
"connecting"),e=this.#h;t();let s;try{this.#h===e&&(s=await this.#i.current())}catch(i){this.#h===e&&this.#k(i);return}if(this.#h===e)try{this.#r=this.#b(s)}catch(i){
this.#y(1006,i)}}#b(t){let e=()=>this.#E(t),{connectTimeout:s}=this.#s;return new p(this.#m(),z(this.#e),e,s,{welcome:i=>this.#S(i),frame:i=>this.#M(i),lost:i=>this.#j(
i)})}#k(t){if(t instanceof a)return this.#v(t);this.#T(M()),this.#t.emit("error",t)}#v(t){this.#r?.end(),this.#y(4401,t)}#E(t){let e={type:"hello",token:t,client:I},
s=this.#t.since(16384-l(JSON.stringify(e))-16);return Object.keys(s).length?{...e,since:s}:e}#S({expires_in:t,groups:e}){let s=this.#f("connected"),i=this.#h;this.#n.
accepted(t);let n=this.#t.welcomed(e);this.#u.resolve(),s();for(let r of n)this.#h===i&&r()}#M(t){if(t.type==="auth_due")return this.#n.now();let e=this.#a.get(
t.id);if(!e)return this.#t.received(t);this.#a.delete(t.id),e(t)}#j({code:t,reason:e,retryMs:s,silent:i,stoodMs:n}){let r=this.welcome?.retry_ms;if(this.#x(),this.#o.
stood(n)&&this.#i.stable(),!(t===4401?this.#i.refused():B(t))){let S=t===4401?"unauthorized":"closed";return this.#y(t,new h(S,e||`closed with ${t}`))}let d=s??
(t===1006&&!i?r:void 0);this.#T(this.#o.next(d,s))}#x(){clearTimeout(this.#l),this.#n.stop(),this.#r=null,this.#a.clear(),this.#t.lost()}#T(t){this.#p(t);let e=this.#f(
"waiting"),s=this.#h;if(e(),this.#h!==s)return;let i=new Date(Date.now()+t);this.#t.emit("waiting",{attempt:this.#o.attempt,delay:t,at:i})}#y(t,e){this.state!==
"closed"&&(this.#x(),this.#w(),this.#i.cancel(),this.#t.closed(e),this.#u?.reject(e),this.#f("closed")(),this.#t.emit("closed",{code:t,reason:e.message,error:e}))}};
function X(){let o={};return o.promise=new Promise((t,e)=>Object.assign(o,{resolve:t,reject:e})),o.promise.catch(()=>{}),o}var k=class{#e;#s;constructor(t,e){this.#e=t,this.#s=e}get name(){return this.#e.name}get state(){return this.#e.state}get position(){return this.#e.position}get error(){
return this.#e.error}get ready(){return this.#e.ready}on(t,e,s){return this.#e.on(t,e,s)}send(t,e){return this.#s.send(this.name,t,e)}leave(){this.#s.leave(this.
name)}};var f=class{#e=new Map;on(t,e,{once:s=!1,signal:i}={}){if(typeof e!="function")throw new TypeError("a listener must be a function");if(i?.aborted)return()=>{};let n=this.#e.
get(t)??new Set;this.#e.set(t,n);let r={callback:e,once:s,remove:()=>{}},c=()=>{n.delete(r),i?.removeEventListener("abort",c)};return r.remove=c,n.add(r),i?.addEventListener(
"abort",c),c}emit(t,...e){for(let s of[...this.#e.get(t)??[]])s.once&&s.remove(),_(s.callback,...e)}clear(){for(let t of this.#e.values())for(let e of[...t])e.remove();
this.#e.clear()}get size(){let t=0;for(let e of this.#e.values())t+=e.size;return t}};function _(o,...t){try{o(...t)}catch(e){typeof reportError=="function"?reportError(
e):setTimeout(()=>{throw e})}}var U=o=>o.replaceAll(".","_"),v=class{state="joining";holders=0;byServer=!1;asked=null;position;error=null;suspended=!1;#e=new f;#s=!1;#t=0;#i;constructor(t,e){
this.name=t,this.#o(),this.group=new k(this,e)}on(t,e,s){return this.#e.on(U(t),e,s)}reopen(){this.state==="closed"&&this.#o(),this.state="joining",this.asked=null,
this.error=null,this.suspended=!1}joined({epoch:t,offset:e,recovered:s}){if(this.asked=null,this.state==="joined"&&s===void 0)return()=>{};let i=s!==!0&&(this.#s||
this.position!==void 0),n=this.position;return this.state="joined",this.error=null,this.#s=!0,this.#t=s?e:0,(!s||!n)&&(this.position=t===void 0?void 0:{epoch:t,
offset:e}),this.#i.resolve(this.group),()=>{if(this.#n("$joined",{recovered:s===!0,position:this.position}),!i)return;let r=n&&n.epoch===t?e-n.offset:void 0;r!==
0&&this.#n("$gap",{reason:"reconnect",possible:r===void 0,lost:r,epoch:t})}}close(t,e=!1){this.state!=="closed"&&(this.state="closed",this.asked=null,this.error=
t,this.suspended=e,this.#i.reject(t),e||this.#n("$left",{reason:t.message,error:t}))}forget(){this.#e.clear()}left(){this.state="closed",this.error=new h("close\
d",`left ${this.name}`),this.#i.reject(this.error)}accept({offset:t,id:e,data:s}){let i={group:this.name,event:s.type,data:s,recovered:!1};if(t===void 0||!this.
position)return{...i,id:e};let{epoch:n,offset:r}=this.position;if(t<=r)return null;if(this.position={epoch:n,offset:t},t>r+1){let c={epoch:n,from:r+1,to:t-1,lost:t-
r-1};this.#n("$gap",{reason:"unannounced",possible:!1,...c})}return{...i,position:this.position,recovered:t<=this.#t}}gap({reason:t,epoch:e,from:s,to:i,lost:n,possible:r=!1}){
e!==void 0&&(this.position={epoch:e,offset:i??0}),this.#n("$gap",{reason:t,possible:r,lost:n,epoch:e,from:s,to:i})}deliver(t){this.state==="joined"&&(this.#n(U(
t.event),t.data,t),this.#n("*",t))}#n(t,...e){this.#e.emit(t,...e)}#o(){this.ready=new Promise((t,e)=>{this.#i={resolve:t,reject:e}}),this.ready.catch(()=>{})}};var x=class{#e=new Set;#s;constructor(t=512){this.#s=t}add(t){return this.#e.has(t)?!1:(this.#e.add(t),this.#e.size>this.#s&&this.#e.delete(this.#e.values().next().
value),!0)}};var F=250,T=class{#e;#s;#t=new Map;#i=new Set;#n=new Map;#o=new x;#r=!1;#h=new Set;#c;#a=new u;constructor(t,e){this.#e=t,this.#s=e}all(){return new Map([...this.#t].
map(([t,{group:e}])=>[t,e]))}join(t,{since:e}={}){let s=this.#t.get(t)??this.#l(t);return clearTimeout(this.#n.get(t)),this.#n.delete(t),s.holders+=1,e&&!s.position&&
(s.position={epoch:e.epoch,offset:e.offset}),s.state==="closed"&&s.reopen(),this.#m(),s.group}leave(t){let e=this.#t.get(t);!e||e.holders===0||(e.holders-=1,!(e.
holders>0)&&(e.forget(),this.#n.set(t,setTimeout(()=>this.#u(t),F))))}since(t){let e={},s=t;for(let{name:i,byServer:n,position:r}of this.#t.values())if(!(!n||!r)){
if(s-=l(JSON.stringify([i,r]))+1,s<0)break;e[i]=r}return e}welcomed(t){let e=new Set(t.map(({group:i})=>i));for(let[i,n]of this.#t)e.has(i)||(n.byServer=!1,n.holders===
0&&this.#t.delete(i));let s=t.map(i=>this.#d(i));return this.#f(),s}lost(){clearTimeout(this.#c),this.#h.clear(),this.#i.clear();for(let t of[...this.#n.keys()])
this.#u(t);for(let t of this.#t.values())t.asked=null,t.state==="joined"&&t.reopen()}suspend(t){for(let e of this.#t.values())e.close(t,!0)}resume(){for(let t of this.#t.
values())t.suspended&&t.reopen()}changed({type:t,groups:e,reason:s}){for(let i of e)t==="joined"?this.#d(i)():this.#w(i.group,s)}gap(t){let e=this.#t.get(t.group);
e?.state==="joined"&&e.gap(t)}event(t){let{group:e,id:s,data:i}=t;if(s!==void 0&&!this.#o.add(s))return null;if(e===void 0)return{event:i.type,data:i,id:s,recovered:!1};
let n=this.#t.get(e);if(n?.state!=="joined")return null;let r=n.accept(t);return r&&n.deliver(r),r}#l(t){let e=new v(t,this.#e);return this.#t.set(t,e),e}#d({group:t,
error:e,...s}){let i=this.#t.get(t)??this.#l(t);return i.byServer=!e,e?(i.holders===0&&this.#t.delete(t),()=>e.retry||i.close(h.from(e))):i.joined(s)}#w(t,e){let s=this.#t.
get(t);s&&(s.byServer=!1,s.holders===0&&this.#t.delete(t),s.close(new h("left",e??"removed by the server")))}#u(t){clearTimeout(this.#n.get(t)),this.#n.delete(t);
let e=this.#t.get(t);!e||e.byServer||(this.#t.delete(t),e.left(),(e.state==="joined"||e.asked!==null)&&(this.#i.add(t),this.#m()))}#m(){this.#r||(this.#r=!0,queueMicrotask(
()=>{this.#r=!1,this.#f()}))}#f(){if(!this.#s.live())return;for(let s of this.#p([...this.#i].map(i=>({group:i}))))this.#s.ask({type:"leave",groups:s},()=>{});this.#i.
clear();let e=[...this.#t.values()].filter(({state:s,asked:i,holders:n})=>s==="joining"&&i===null&&n>0).map(({name:s,position:i})=>({group:s,since:i}));for(let s of this.#p(
e))this.#g(s)}#p(t){return L(t,this.#s.maxBytes)}#g(t){let e={};for(let{group:s}of t)this.#t.get(s).asked=e;this.#s.ask({type:"join",groups:t},s=>{let i=s.type===
"error"?s:void 0,n=i?t.map(({group:r})=>({group:r,error:i})):s.groups;for(let r of n)this.#b(r,e)})}#b({group:t,error:e,...s},i){let n=this.#t.get(t);n?.asked===
i&&(e?e.retry?this.#k(t):n.close(h.from(e)):(this.#a.reset(),n.joined(s)()))}#k(t){this.#h.add(t),!(this.#h.size>1)&&(this.#c=setTimeout(()=>{for(let e of this.#h){
let s=this.#t.get(e);s?.state==="joining"&&(s.asked=null)}this.#h.clear(),this.#f()},this.#a.next()))}};var E=class{#e;#s;#t=new Map;#i=0;constructor(t,e){this.#e={maxMessages:128,maxBytes:1024*1024,...t},this.#s=e}get size(){return this.#t.size}request(t,e){let s=this.#s.
nextId(),i=JSON.stringify({...t,id:s}),n=l(i),r=this.#n(n);return r?Promise.reject(r):new Promise((c,d)=>{let S=t.key!==void 0,A={text:i,bytes:n,repeatable:S,sent:!1,
resolve:c,reject:d,timer:void 0};A.timer=setTimeout(()=>this.#o(s),e),this.#t.set(s,A),this.#i+=n,this.flush()})}#n(t){let{maxMessages:e,maxBytes:s}=this.#e,i=this.#s.
maxBytes;if(t>i)return new h("too_large",`${t} bytes; ${i} are allowed`);if(this.#t.size<e&&this.#i+t<=s)return null;let n=`${this.#t.size} requests of ${this.#i}\
 bytes wait already`;return new h("outbox_full",n,!0)}flush(){if(this.#s.live()){for(let t of this.#t.values())if(!t.sent){if(!this.#s.send(t.text))return;t.sent=
!0}}}answered({type:t,id:e,...s}){let i=this.#r(e);return i?(t==="result"?i.resolve(s.data):i.reject(h.from(s)),!0):!1}lost(){for(let[t,e]of this.#t){if(!e.sent||
(e.sent=!1,e.repeatable))continue;let s="the connection was lost before the answer; whether it was done is not known";this.#r(t).reject(new h("disconnected",s))}}close(t){
for(let e of[...this.#t.keys()])this.#r(e).reject(t)}#o(t){let{sent:e,reject:s}=this.#r(t),i=e?new h("timeout","no answer in time; whether it was done is not kn\
own",!0):new h("expired","no connection in time; nothing was sent",!0);s(i)}#r(t){let e=this.#t.get(t);if(e)return this.#t.delete(t),this.#i-=e.bytes,clearTimeout(
e.timer),e}};var O=class{onmessage=null;#e;#s=new f;#t;#i;#n;constructor(t,e={}){this.#e=e.timeout??1e4,this.#t=new b(t,{connectTimeout:1e4,...e},{starting:()=>this.#i.resume(),
since:s=>this.#i.since(s),welcomed:s=>this.#r(s),received:s=>this.#h(s),lost:()=>this.#a(),closed:s=>this.#l(s),emit:(s,i)=>this.#s.emit(s,i)}),this.#i=new T(this,
this.#t),this.#n=new E(e.outbox,this.#t)}get state(){return this.#t.state}get id(){return this.#t.welcome?.connection}get groups(){return this.#i.all()}connect(){
return this.#t.connect()}reconnect(){this.state==="waiting"?this.#t.wake():this.connect()}close(t=1e3){this.#t.close(t)}setToken(t){this.#t.setToken(t)}join(t,e){
let s=this.#i.join(t,e);return this.#t.connectSoon(),s}leave(t){this.#i.leave(t)}send(t,e,{echo:s=!0,key:i=H(),timeout:n}={}){let r=s?void 0:!1;return this.#o({
type:"send",group:t,data:e,echo:r,key:i},n)}call(t,e,{key:s,timeout:i}={}){return this.#o({type:"call",name:t,data:e,key:s},i)}on(t,e,s){return this.#s.on(t,e,s)}#o(t,e=this.#e){
if(this.state==="closed")return Promise.reject(new h("closed","the client is closed"));let s=this.#n.request(t,e);return this.#t.connectSoon(),s}#r(t){let e=this.#i.
welcomed(t);return this.#n.flush(),e}#h(t){switch(t.type){case"event":return this.#c(this.#i.event(t));case"gap":return this.#i.gap(t);case"joined":case"left":return t.
id===void 0&&this.#i.changed(t);case"result":return this.#n.answered(t);case"error":if(this.#n.answered(t)||t.id!==void 0)return;this.#s.emit("error",h.from(t))}}#c(t){
t&&(this.onmessage&&_(this.onmessage,t),this.#s.emit("event",t))}#a(){this.#i.lost(),this.#n.lost()}#l(t){this.#i.suspend(t),this.#n.close(t)}};function H(){return crypto.
randomUUID?.()??`${Date.now()}-${Math.random()}-${Math.random()}`}export{O as GroupcastClient,h as GroupcastError,a as UnauthorizedError};
